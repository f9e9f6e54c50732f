#include "eval/results.h"

#include <algorithm>
#include <cmath>
#include <functional>
#include <limits>
#include <nlohmann/json.hpp>
#include <set>

#include "eval/layer_values.h"

namespace chunkllm {
namespace {

using Json = nlohmann::ordered_json;

Measure total(std::span<const Measure> samples, std::optional<size_t> but = std::nullopt) {
  Measure sum;
  for (size_t i = 0; i < samples.size(); ++i) {
    if (i != but) sum += samples[i];
  }
  return sum;
}

// `value_without` gives the number without a sample, or with all of them.
Estimate jackknife(size_t n_samples,
                   const std::function<double(std::optional<size_t> but)>& value_without) {
  Estimate estimate{value_without(std::nullopt), 0.0};
  if (n_samples < 2) return estimate;
  std::vector<double> values;
  double mean = 0;
  for (size_t i = 0; i < n_samples; ++i) {
    values.push_back(value_without(i));
    mean += values.back() / static_cast<double>(n_samples);
  }
  double squares = 0;
  for (const double value : values) squares += (value - mean) * (value - mean);
  const auto n = static_cast<double>(n_samples);
  estimate.error = std::sqrt(squares * (n - 1) / n);
  return estimate;
}

std::vector<Measure> scores_of(const std::vector<const Cell*>& cells) {
  std::vector<Measure> scores;
  for (const Cell* cell : cells) scores.push_back(cell->result.measures.at(kScore));
  return scores;
}

// Those of samples that both have.
std::vector<const Cell*> paired(const std::vector<const Cell*>& cells,
                                const std::vector<const Cell*>& others) {
  std::set<int64_t> samples;
  for (const Cell* other : others) samples.insert(other->sample);
  std::vector<const Cell*> both;
  for (const Cell* cell : cells) {
    if (samples.contains(cell->sample)) both.push_back(cell);
  }
  return both;
}

void add_layers(const std::map<std::string, LayerValues>& cell,
                std::map<std::string, std::vector<Measure>>& sums) {
  for (const auto& [name, values] : cell) {
    std::vector<Measure>& of_name = sums[name];
    of_name.resize(std::max(of_name.size(), values.size()));
    for (size_t i = 0; i < values.size(); ++i) {
      if (values[i]) of_name[i] += {*values[i], 1};
    }
  }
}

double number_or_0(const Json& object, const char* name) {
  const auto found = object.find(name);
  return found != object.end() && found->is_number() ? found->get<double>() : 0;
}

Json rate_or_null(std::optional<double> rate) { return rate ? number_or_null(*rate) : Json(); }

// Of each series its means over parts of the network.
void add_layer_means(const std::string& name, const EvalRow& row, Json& parts) {
  const LayerValues values = row.layer_values(name);
  const auto put = [&](const std::string& part, const std::optional<double>& mean) {
    if (mean) parts[part] = {{"score", number_or_null(*mean)}, {"n", row.n_samples}};
  };
  put(name, typical_mean(values));
  for (int64_t third = 0; third < 3; ++third) {
    put(fmt::format("{}, {}", name, kThirds[third]),
        mean_over(values, third_of_layers(std::ssize(values), third)));
  }
}

Json layers_json(const EvalRow& row) {
  Json numbers = Json::array();
  for (size_t i = 0; i < row.layers.begin()->second.size(); ++i) numbers.push_back(i);
  Json series = Json::object();
  for (const auto& [name, by_layer] : row.layers) {
    Json values = Json::array();
    for (const std::optional<double>& value : row.layer_values(name)) {
      values.push_back(value ? number_or_null(*value) : Json());
    }
    series[name] = std::move(values);
  }
  return {{"layers", std::move(numbers)}, {"series", std::move(series)}};
}

}  // namespace

void EvalSpeed::add(const Json& details) {
  if (!details.is_object()) return;
  prefill_seconds += number_or_0(details, "prefill_seconds");
  n_prefilled += number_or_0(details, "prefilled_tokens");
  decode_seconds += number_or_0(details, "decode_seconds");
  n_decoded += number_or_0(details, "decoded_tokens");
}

std::optional<double> EvalSpeed::prefill_tokens_per_second() const {
  return n_prefilled > 0 && prefill_seconds > 0 ? std::optional(n_prefilled / prefill_seconds)
                                                : std::nullopt;
}

std::optional<double> EvalSpeed::decode_tokens_per_second() const {
  return n_decoded > 0 && decode_seconds > 0 ? std::optional(n_decoded / decode_seconds)
                                             : std::nullopt;
}

LayerValues EvalRow::layer_values(const std::string& name) const {
  const auto found = layers.find(name);
  return found != layers.end() ? quotients(found->second) : LayerValues{};
}

Json number_or_null(double value) { return std::isfinite(value) ? Json(value) : Json(); }

std::string show_estimate(const Estimate& estimate, int64_t n_samples, int digits) {
  return n_samples < 2 || !std::isfinite(estimate.error)
             ? fmt::format("{:.{}f}", estimate.value, digits)
             : fmt::format("{:.{}f} ± {:.{}f}", estimate.value, digits, estimate.error, digits);
}

Estimate estimate_score(const EvalTask& task, std::span<const Measure> samples) {
  return jackknife(samples.size(),
                   [&](std::optional<size_t> but) { return task.score(total(samples, but)); });
}

std::optional<Estimate> estimate_ratio(const EvalTask& task, std::span<const Measure> samples,
                                       std::span<const Measure> of_full) {
  if (!(task.score(total(of_full)) > 0)) return std::nullopt;
  return jackknife(samples.size(), [&](std::optional<size_t> but) {
    // Where full scores nothing there is no ratio, and no error of it.
    const double full = task.score(total(of_full, but));
    return full > 0 ? task.score(total(samples, but)) / full
                    : std::numeric_limits<double>::quiet_NaN();
  });
}

std::vector<EvalRow> make_rows(const EvalTask& task, const CellStore& store,
                               std::span<const int64_t> lengths,
                               std::span<const EvalColumn> columns) {
  const EvalColumn* full = nullptr;
  for (const EvalColumn& column : columns) {
    if (task.has_policies && !column.policy->selects()) full = &column;
  }
  std::vector<EvalRow> rows;
  for (const int64_t ctx : lengths) {
    for (const EvalColumn& column : columns) {
      const std::vector<const Cell*> cells = store.cells_of(column, ctx);
      if (cells.empty()) continue;
      EvalRow row{.ctx = ctx, .column = &column, .n_samples = std::ssize(cells)};
      for (const Cell* cell : cells) {
        row.decode += cell->result.decode;
        row.prefill += cell->result.prefill;
        row.missed += cell->result.missed;
        row.seconds += cell->result.seconds;
        row.speed.add(cell->result.details);
        for (const auto& [name, measure] : cell->result.measures) row.measures[name] += measure;
        add_layers(cell->result.layers, row.layers);
      }
      row.score = estimate_score(task, scores_of(cells));
      if (full != nullptr) {
        const std::vector<const Cell*> of_full = store.cells_of(*full, ctx);
        const auto mine = paired(cells, of_full);
        if (!mine.empty()) {
          row.ratio = estimate_ratio(task, scores_of(mine), scores_of(paired(of_full, cells)));
        }
      }
      rows.push_back(std::move(row));
    }
  }
  return rows;
}

Json rows_json(const EvalTask& task, std::span<const EvalRow> rows) {
  Json results = Json::array();
  for (const EvalRow& row : rows) {
    const EvalColumn& column = *row.column;
    Json json;
    json["task"] = task.name;
    json["ctx"] = row.ctx > 0 ? Json(row.ctx) : Json();
    json["policy"] = column.policy->name;
    json["kv_budget"] = budget_json(column.kv_budget);
    json["prefill"] = column.prefill.empty() ? Json() : Json(column.prefill);
    json["kv_retention"] = row.decode.kv_retention();
    json["prefill_retention"] = task.reads_prompts ? Json(row.prefill.retention()) : Json();
    if (row.missed.n > 0) json["missed_mass"] = row.missed.mean();
    json["score"] = number_or_null(row.score.value);
    json["score_error"] = row.n_samples > 1 ? number_or_null(row.score.error) : Json();
    json["n"] = std::llround(row.measures.at(kScore).n);
    json["samples"] = row.n_samples;
    json["ratio"] = row.ratio ? number_or_null(row.ratio->value) : Json();
    json["ratio_error"] =
        row.ratio && row.n_samples > 1 ? number_or_null(row.ratio->error) : Json();
    Json parts = Json::object();
    for (const auto& [name, measure] : row.measures) {
      if (name == kScore) continue;
      parts[name] = {{"score", number_or_null(task.score(measure))},
                     {"n", std::llround(measure.n)}};
    }
    for (const auto& [name, by_layer] : row.layers) add_layer_means(name, row, parts);
    json["parts"] = std::move(parts);
    json["kv_bytes_attended"] = row.decode.kv_bytes_attended();
    json["seconds"] = row.seconds;
    json["prefill_tokens_per_second"] = rate_or_null(row.speed.prefill_tokens_per_second());
    json["decode_tokens_per_second"] = rate_or_null(row.speed.decode_tokens_per_second());
    if (!row.layers.empty()) json["details"] = layers_json(row);
    results.push_back(std::move(json));
  }
  return results;
}

std::string rows_table(const EvalTask& task, std::span<const EvalRow> rows) {
  std::vector<std::string> parts;  // those of the task's that there are
  for (const std::string_view name : task.shown) {
    const bool is_there = std::ranges::any_of(
        rows, [&](const EvalRow& row) { return row.measures.contains(std::string(name)); });
    if (is_there) parts.emplace_back(name);
  }
  std::string header = "| context | policy | KV retention |";
  std::string line = "|---|---|---|";
  const auto add_column = [&](std::string_view name) {
    header += fmt::format(" {} |", name);
    line += "---|";
  };
  if (task.reads_prompts) add_column("prefill retention");
  const bool is_audited =
      std::ranges::any_of(rows, [](const EvalRow& row) { return row.missed.n > 0; });
  if (is_audited) add_column("missed mass");
  const bool is_perplexity = task.score_kind == ScoreKind::kPerplexity;
  add_column(is_perplexity ? "perplexity" : "score");
  for (const std::string& part : parts) add_column(part);
  add_column("of full");
  add_column("n");
  std::string table = header + "\n" + line + "\n";
  const int digits = is_perplexity ? 4 : 3;
  for (const EvalRow& row : rows) {
    table += fmt::format("| {} | {} | {:.1f}% |", row.ctx > 0 ? std::to_string(row.ctx) : "-",
                         row.column->name(), 100 * row.decode.kv_retention());
    if (task.reads_prompts) table += fmt::format(" {:.1f}% |", 100 * row.prefill.retention());
    if (is_audited) {
      table += row.missed.n > 0 ? fmt::format(" {:.2f}% |", 100 * row.missed.mean()) : " - |";
    }
    table += fmt::format(" {} |", show_estimate(row.score, row.n_samples, digits));
    for (const std::string& part : parts) {
      const auto found = row.measures.find(part);
      table += found == row.measures.end()
                   ? " |"
                   : fmt::format(" {:.{}f} |", task.score(found->second), digits);
    }
    table += row.ratio ? fmt::format(" {} |", show_estimate(*row.ratio, row.n_samples, 4)) : " - |";
    table += fmt::format(" {} |\n", std::llround(row.measures.at(kScore).n));
  }
  return table;
}

}  // namespace chunkllm
