#include "eval/run.h"

#include <algorithm>

#include "base/atomic_file.h"
#include "base/error.h"
#include "base/timer.h"
#include "eval/cells.h"

namespace chunkllm {
namespace {

using Json = nlohmann::ordered_json;

// All that cells depend on. `engine` has its weights.
Json settings_of(const Engine& engine, const EvalPlan& plan) {
  const EvalOptions& options = plan.options;
  Json json;
  json["task"] = plan.task->name;
  json["model fingerprint"] = engine.weights().fingerprint();
  json["weights digest"] = engine.weights().checkpoint.sample_digest();
  json["--dtype"] = precision_name(engine.precision());
  json["--kv-type"] = enum_name(options.kv_type);
  if (options.audit_every > 0) json["--audit"] = options.audit_every;
  const auto reads = [&](Setting setting) {
    return std::ranges::any_of(
        plan.columns, [&](const EvalColumn& column) { return column.policy->reads(setting); });
  };
  const Adapter* first_adapter = nullptr;  // that a column is made from
  for (const EvalColumn& column : plan.columns) {
    const Adapter* adapter = adapter_for(*column.policy, engine.adapters());
    if (adapter == nullptr) continue;
    if (first_adapter == nullptr) first_adapter = adapter;
    const char* key =
        adapter == engine.adapters().fixed ? "fixed adapter digest" : "adapter digest";
    if (!json.contains(key)) json[key] = adapter_digest(*adapter);
  }
  if (plan.task->has_policies) {
    Json policies = Json::array();
    for (const PolicyEntry* policy : options.policies) policies.push_back(policy->name);
    json["--policy"] = std::move(policies);
  }
  if (reads(Setting::kKvBudget)) {
    Json budgets = Json::array();
    for (const std::string& budget : options.budgets) budgets.push_back(budget_json(budget));
    json["--kv-budget"] = std::move(budgets);
  }
  if (plan.task->reads_prompts && reads(Setting::kPrefill)) {
    Json prefills = Json::array();
    for (const PrefillKind prefill : options.prefills) prefills.push_back(enum_name(prefill));
    json["--prefill"] = std::move(prefills);
  }
  const SelectionSettings selection = settings_with_defaults(options.selection, first_adapter);
  for (const SettingEntry& entry : setting_entries()) {
    if (!reads(entry.setting) || json.contains(entry.flag)) continue;
    if (entry.setting == Setting::kPrefill) continue;
    const nlohmann::json value = entry.get(selection);
    if (!value.is_null()) json[std::string(entry.flag)] = value;
  }
  json["--seed"] = options.seed;
  json.update(plan.work->settings());
  return json;
}

// Follows the tokens of the cells that run.
class Meter {
 public:
  Meter(int64_t n_cells, int64_t n_tokens, const EvalCallbacks& callbacks)
      : n_cells_(n_cells), n_tokens_(n_tokens), callbacks_(callbacks) {}

  void progress(const EvalUnit& unit, int64_t n_tokens) {
    if (!callbacks_.progress) return;
    callbacks_.progress(n_done_ + std::min(n_tokens, unit.n_tokens), n_tokens_);
  }
  void cell_done(const EvalUnit& unit) {
    ++n_cells_done_;
    n_done_ += unit.n_tokens;
    if (callbacks_.progress) callbacks_.progress(n_done_, n_tokens_);
    if (n_cells_done_ != 1 || n_cells_ < 2 || !callbacks_.first_cell) return;
    const double seconds = timer_.seconds();
    const double pace = seconds / static_cast<double>(std::max<int64_t>(n_done_, 1));
    callbacks_.first_cell(seconds, n_cells_ - 1, pace * static_cast<double>(n_tokens_ - n_done_));
  }

 private:
  int64_t n_cells_;
  int64_t n_tokens_;
  const EvalCallbacks& callbacks_;
  Timer timer_;
  int64_t n_cells_done_ = 0;
  int64_t n_done_ = 0;
};

}  // namespace

bool EvalPlan::has_cell(const EvalColumn& column, int64_t ctx) const {
  if (wanted && !wanted(column, ctx)) return false;
  return std::ranges::none_of(
      left_out, [&](const LeftOut& out) { return out.column == &column && out.ctx == ctx; });
}

int64_t EvalPlan::n_cells() const {
  int64_t n = 0;
  for (const EvalUnit& unit : work->units()) {
    for (const EvalColumn& column : columns) n += has_cell(column, unit.ctx) ? 1 : 0;
  }
  return n;
}

EvalPlan plan_eval(const Engine& engine, const EvalTask& task, const EvalOptions& options) {
  EvalPlan plan;
  plan.task = &task;
  plan.options = options;
  std::vector<int64_t> lengths;  // each once
  for (const int64_t ctx : options.ctx) {
    if (std::ranges::find(lengths, ctx) == lengths.end()) lengths.push_back(ctx);
  }
  plan.options.ctx = std::move(lengths);
  plan.columns = make_columns(task, options);
  for (const EvalColumn& column : plan.columns) require_adapter(*column.policy, engine.adapters());
  plan.work = task.prepare(engine, plan.options);
  for (const EvalUnit& unit : plan.work->units()) {
    if (std::ranges::find(plan.lengths, unit.ctx) == plan.lengths.end()) {
      plan.lengths.push_back(unit.ctx);
    }
  }
  for (const int64_t ctx : plan.lengths) {
    if (ctx == 0) continue;  // of each text its own
    for (const EvalColumn& column : plan.columns) {
      const std::optional<int64_t> least =
          least_budget_above(*column.policy, column.selection, engine.adapters(), ctx);
      if (least) plan.left_out.push_back({ctx, &column, *least});
    }
  }
  // Full attention beside nothing is not what was asked for.
  const bool measures = std::ranges::any_of(plan.columns, [&](const EvalColumn& column) {
    return column.policy->selects() && std::ranges::any_of(plan.lengths, [&](int64_t ctx) {
             return plan.has_cell(column, ctx);
           });
  });
  if (!measures && !plan.left_out.empty()) {
    const bool is_default = options.budgets == EvalOptions().budgets;
    fail(ErrorCode::kInvalidArgument,
         "nothing is left to evaluate: {} below the least of {} tokens (--kv-budget-min); give {}",
         is_default ? fmt::format("--kv-budget {}, the default, is", options.budgets.front())
                    : "all budgets are",
         plan.left_out.front().least_tokens,
         is_default ? "--kv-budget in tokens, a larger fraction, or a larger --ctx"
                    : "larger budgets or lengths");
  }
  return plan;
}

void make_run_folder(const std::filesystem::path& folder) {
  make_writable_folder(folder);
  check_writable_file(folder / kResultsFile);
}

void write_results(const EvalReport& report, const std::filesystem::path& folder) {
  write_file_atomically(folder / kResultsFile,
                        report.json.dump(1, ' ', false, Json::error_handler_t::replace) + "\n");
}

EvalReport run_eval(const Engine& engine, EvalPlan& plan, const std::filesystem::path& folder,
                    const EvalCallbacks& callbacks, const CancelToken* cancel) {
  const Json settings = settings_of(engine, plan);
  const std::vector<EvalUnit> units = plan.work->units();
  CellStore cells(folder, *plan.task, settings, plan.columns, units);
  const auto pending_of = [&](const EvalUnit& unit) {
    std::vector<const EvalColumn*> pending;
    for (const EvalColumn& column : plan.columns) {
      if (!plan.has_cell(column, unit.ctx)) continue;
      if (cells.find(column, unit.ctx, unit.sample) == nullptr) pending.push_back(&column);
    }
    return pending;
  };
  int64_t n_pending = 0;
  int64_t n_tokens = 0;
  for (const EvalUnit& unit : units) {
    const auto n = static_cast<int64_t>(pending_of(unit).size());
    n_pending += n;
    n_tokens += n * unit.n_tokens;
  }
  const int64_t n_cells = plan.n_cells();
  if (callbacks.begin) callbacks.begin(n_cells - n_pending, n_cells);
  Meter meter(n_pending, n_tokens, callbacks);
  int64_t n_done = n_cells - n_pending;
  try {
    for (const EvalUnit& unit : units) {
      const std::vector<const EvalColumn*> pending = pending_of(unit);
      if (pending.empty()) continue;
      if (cancel != nullptr) cancel->check();
      plan.work->run(
          unit, pending,
          [&](const EvalColumn& column, const CellResult& result) {
            cells.add(column, {unit.ctx, unit.sample, result});
            ++n_done;
            meter.cell_done(unit);
          },
          [&](int64_t n) { meter.progress(unit, n); }, cancel);
    }
  } catch (const Error& e) {
    if (e.code() != ErrorCode::kInterrupted) throw;
    fail(ErrorCode::kInterrupted, "interrupted after {} of {} {}; the same command goes on", n_done,
         n_cells, n_cells == 1 ? "cell" : "cells");
  }

  plan.work->finish(folder);
  EvalReport report;
  report.rows = make_rows(*plan.task, cells, plan.lengths, plan.columns);
  report.table =
      plan.task->has_policies ? rows_table(*plan.task, report.rows) : plan.work->table(report.rows);
  report.json["task"] = plan.task->name;
  report.json["model"] = engine.options().model.filename().empty()
                             ? engine.options().model.parent_path().filename().string()
                             : engine.options().model.filename().string();
  if (!plan.command.empty()) report.json["command"] = plan.command;
  report.json["results"] = rows_json(*plan.task, report.rows);
  Json left_out = Json::array();
  for (const LeftOut& out : plan.left_out) {
    left_out.push_back({{"ctx", out.ctx},
                        {"policy", out.column->policy->name},
                        {"kv_budget", budget_json(out.column->kv_budget)},
                        {"least_tokens", out.least_tokens}});
  }
  report.json["left_out"] = std::move(left_out);
  report.json["settings"] = settings;
  write_results(report, folder);
  return report;
}

}  // namespace chunkllm
