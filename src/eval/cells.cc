#include "eval/cells.h"

#include <algorithm>
#include <limits>
#include <set>
#include <utility>

#include "base/atomic_file.h"
#include "base/error.h"
#include "base/json.h"
#include "base/settings_difference.h"

namespace chunkllm {
namespace {

using Json = nlohmann::ordered_json;

constexpr double kMost = std::numeric_limits<double>::max();
constexpr int64_t kMostCount = int64_t{1} << 40;
constexpr int64_t kMostSettingsBytes = int64_t{1} << 30;
constexpr std::string_view kOtherFolder = "remove this folder, or give another --out";
constexpr const char* kTaskSetting = "task";
constexpr const char* kSamplesSetting = "--samples";

// What tells columns apart in a line.
Json column_json(const EvalColumn& column) {
  Json json;
  json["policy"] = column.policy->name;
  json["kv_budget"] = budget_json(column.kv_budget);
  json["prefill"] = column.prefill.empty() ? Json() : Json(column.prefill);
  return json;
}

std::string column_key(const EvalColumn& column) { return column_json(column).dump(); }

std::string column_key(const nlohmann::json& record) {
  Json json;
  for (const char* name : {"policy", "kv_budget", "prefill"}) json[name] = record.at(name);
  return json.dump();
}

Json layers_json(const CellResult& result) {
  Json json = Json::object();
  for (const auto& [name, values] : result.layers) {
    Json list = Json::array();
    for (const std::optional<double>& value : values) list.push_back(value ? Json(*value) : Json());
    json[name] = std::move(list);
  }
  return json;
}

void read_layers(const nlohmann::json& json, const std::string& where, CellResult& result) {
  const auto refuse = [&] {
    fail(ErrorCode::kData, "{}: layers must be lists of numbers; remove this line", where);
  };
  if (!json.is_object()) refuse();
  for (const auto& [name, list] : json.items()) {
    if (!list.is_array()) refuse();
    LayerValues& values = result.layers[name];
    for (const nlohmann::json& value : list) {
      if (!value.is_number() && !value.is_null()) refuse();
      values.push_back(value.is_null() ? std::nullopt : std::optional(value.get<double>()));
    }
  }
}

Json to_json(std::string_view task, const EvalColumn& column, const Cell& cell) {
  const CellResult& result = cell.result;
  Json json;
  json["task"] = task;
  json["ctx"] = cell.ctx;
  json.update(column_json(column));
  json["sample"] = cell.sample;
  Json measures = Json::object();
  for (const auto& [name, measure] : result.measures) {
    measures[name] = {{"sum", measure.sum}, {"n", measure.n}};
  }
  json["measures"] = std::move(measures);
  json["kv_retention"] = result.decode.kv_retention();
  json["passes"] = result.decode.n_passes;
  json["kv_retention_sum"] = result.decode.retention_sum;
  json["kv_bytes_attended_sum"] = result.decode.bytes_attended_sum;
  json["prefill_rows_attended"] = result.prefill.rows_attended;
  json["prefill_rows_visible"] = result.prefill.rows_visible;
  if (result.missed.n > 0) {
    const MissedMass& missed = result.missed;
    json["missed_mass"] = {{"sum", missed.sum}, {"max", missed.max}, {"n", missed.n}};
  }
  json["seconds"] = result.seconds;
  if (!result.layers.empty()) json["layers"] = layers_json(result);
  if (!result.details.is_null()) json["details"] = result.details;
  return json;
}

Cell read_cell(const nlohmann::json& record, const std::string& where) {
  const JsonFields fields(record, where);
  for (const char* name : {"policy", "kv_budget", "prefill"}) {
    if (!record.contains(name)) {
      fail(ErrorCode::kData, "{}: {} is missing; remove this line", where, name);
    }
  }
  Cell cell;
  cell.ctx = fields.integer("ctx", 0, kMostCount);
  cell.sample = fields.integer("sample", 0, kMostCount);
  const nlohmann::json& measures = fields.at("measures");
  if (!measures.is_object() || !measures.contains(kScore)) {
    fail(ErrorCode::kData, "{}: measures has no score; remove this line", where);
  }
  for (const auto& [name, value] : measures.items()) {
    const JsonFields measure(value, where);
    const Measure read{measure.number("sum", -kMost, kMost), measure.number("n", 0, kMost)};
    if (read.n == 0 && read.sum != 0) {
      fail(ErrorCode::kData, "{}: {} is a sum over n = 0 items; remove this line", where,
           show_text(name));
    }
    cell.result.measures[name] = read;
  }
  RetentionCount& decode = cell.result.decode;
  decode.n_passes = fields.integer("passes", 0, kMostCount);
  decode.retention_sum = fields.number("kv_retention_sum", 0, kMost);
  decode.bytes_attended_sum = fields.number("kv_bytes_attended_sum", 0, kMost);
  cell.result.prefill.rows_attended = fields.number("prefill_rows_attended", 0, kMost);
  cell.result.prefill.rows_visible = fields.number("prefill_rows_visible", 0, kMost);
  if (fields.has("missed_mass")) {
    const JsonFields missed(fields.at("missed_mass"), where);
    cell.result.missed = {.n = missed.integer("n", 1, kMostCount),
                          .sum = missed.number("sum", 0, kMost),
                          .max = missed.number("max", 0, 1 + 1e-6)};
  }
  // No more than a whole for each.
  const auto check_shares = [&](const char* name, double sum, int64_t n) {
    if (sum <= static_cast<double>(n) * (1 + 1e-6)) return;
    fail(ErrorCode::kData, "{}: {} is a sum of {} over {} shares; remove this line", where, name,
         sum, n);
  };
  check_shares("kv_retention_sum", decode.retention_sum, decode.n_passes);
  check_shares("missed_mass", cell.result.missed.sum, cell.result.missed.n);
  cell.result.seconds = fields.number("seconds", 0, kMost);
  if (record.contains("details")) cell.result.details = Json(record["details"]);
  if (fields.has("layers")) read_layers(record["layers"], where, cell.result);
  return cell;
}

bool is_more(const nlohmann::json& value, const nlohmann::json& than) {
  return value.is_number_integer() && than.is_number_integer() &&
         value.get<int64_t>() > than.get<int64_t>();
}

// Throws Error naming the first setting that differs. Whether more samples are asked for than were.
bool check_settings_file(const std::filesystem::path& path, const EvalTask& task,
                         const nlohmann::json& expected) {
  const nlohmann::json saved = read_json_file(path, kMostSettingsBytes, kOtherFolder);
  if (!saved.is_object()) {
    fail(ErrorCode::kData, "{} holds no settings of an evaluation; {}", path.string(),
         kOtherFolder);
  }
  bool more_samples = false;
  const auto compare = [&](const std::string& name) {
    const nlohmann::json was = saved.value(name, nlohmann::json());
    const nlohmann::json is = expected.value(name, nlohmann::json());
    if (was.dump() == is.dump()) return;
    if (task.takes_more_samples && name == kSamplesSetting && is_more(is, was)) {
      more_samples = true;
      return;
    }
    fail(ErrorCode::kInvalidArgument,
         "{} holds cells with {} = {}, not {}; give the same options, or another --out",
         path.parent_path().string(), show_text(name), setting_text(was), setting_text(is));
  };
  compare(kTaskSetting);  // another task differs in all else as well
  for (const auto& [name, value] : expected.items()) compare(name);
  for (const auto& [name, value] : saved.items()) compare(name);
  return more_samples;
}

}  // namespace

Json budget_json(const std::string& kv_budget) {
  if (kv_budget.empty()) return {};
  const KvBudget budget = KvBudget::parse(kv_budget);
  return budget.fraction ? Json(*budget.fraction) : Json(budget.n_tokens);
}

CellStore::CellStore(const std::filesystem::path& folder, const EvalTask& task,
                     const Json& settings, std::span<const EvalColumn> columns,
                     std::span<const EvalUnit> units)
    : task_(task) {
  const std::filesystem::path settings_path = folder / kEvalSettingsFile;
  const std::filesystem::path cells_path = folder / kCellsFile;
  std::error_code error;
  const bool has_cells = std::filesystem::exists(cells_path, error) &&
                         std::filesystem::file_size(cells_path, error) > 0;
  bool writes_settings = false;
  if (std::filesystem::exists(settings_path, error)) {
    writes_settings = check_settings_file(settings_path, task, nlohmann::json(settings));
  } else if (has_cells) {
    fail(ErrorCode::kData,
         "{} holds cells, and nothing says of what ({} is missing); use another "
         "--out",
         folder.string(), kEvalSettingsFile);
  } else {
    writes_settings = true;
  }
  std::vector<std::string> keys;
  for (const EvalColumn& column : columns) keys.push_back(column_key(column));
  std::set<std::pair<int64_t, int64_t>> places;
  for (const EvalUnit& unit : units) places.emplace(unit.ctx, unit.sample);
  const auto take = [&](const nlohmann::json& record, const std::string& where) {
    Cell cell = read_cell(record, where);
    std::string key = column_key(record);
    if (std::ranges::find(keys, key) == keys.end() || !places.contains({cell.ctx, cell.sample}) ||
        record.value(kTaskSetting, nlohmann::json()) != task.name) {
      fail(ErrorCode::kData, "{}: a cell that this evaluation has not; remove this line", where);
    }
    const Key place{std::move(key), cell.ctx, cell.sample};
    cells_.emplace(place, std::move(cell));
    return true;
  };
  log_ = std::make_unique<JsonLog>(cells_path, true, take);
  if (writes_settings) write_file_atomically(settings_path, settings.dump(1) + "\n");
}

const Cell* CellStore::find(const EvalColumn& column, int64_t ctx, int64_t sample) const {
  const auto found = cells_.find({column_key(column), ctx, sample});
  return found != cells_.end() ? &found->second : nullptr;
}

std::vector<const Cell*> CellStore::cells_of(const EvalColumn& column, int64_t ctx) const {
  const std::string key = column_key(column);
  std::vector<const Cell*> cells;
  for (auto entry = cells_.lower_bound({key, ctx, 0}); entry != cells_.end(); ++entry) {
    const Cell& cell = entry->second;
    if (std::get<0>(entry->first) != key || cell.ctx != ctx) break;
    cells.push_back(&cell);
  }
  return cells;
}

void CellStore::add(const EvalColumn& column, Cell cell) {
  log_->write(to_json(task_.name, column, cell));
  const Key key{column_key(column), cell.ctx, cell.sample};
  cells_.emplace(key, std::move(cell));
}

}  // namespace chunkllm
