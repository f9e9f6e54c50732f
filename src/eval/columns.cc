#include "eval/columns.h"

#include <algorithm>

#include "base/error.h"

namespace chunkllm {
namespace {

void add_column(std::vector<EvalColumn>& columns, EvalColumn column) {
  for (const EvalColumn& other : columns) {
    // 0.1 and 0.10 are one budget.
    const KvBudget& a = other.selection.budget;
    const KvBudget& b = column.selection.budget;
    if (other.policy != column.policy || other.prefill != column.prefill ||
        a.n_tokens != b.n_tokens || a.fraction != b.fraction) {
      continue;
    }
    fail(ErrorCode::kInvalidArgument, "{} is asked for twice; name each policy and budget once",
         column.name());
  }
  columns.push_back(std::move(column));
}

}  // namespace

std::string EvalColumn::name() const {
  std::string text(policy->name);
  if (!kv_budget.empty()) text += " " + kv_budget;
  if (!prefill.empty()) text += ", prefill " + prefill;
  return text;
}

std::vector<EvalColumn> make_columns(const EvalTask& task, const EvalOptions& options) {
  std::vector<EvalColumn> columns;
  if (!task.has_policies) return {EvalColumn{.selection = options.selection}};
  for (const PolicyEntry* policy : options.policies) {
    const bool by_budget = policy->reads(Setting::kKvBudget);
    const bool by_prefill = task.reads_prompts && policy->reads(Setting::kPrefill);
    const size_t n_prefills = by_prefill ? options.prefills.size() : 1;
    const size_t n_budgets = by_budget ? options.budgets.size() : 1;
    for (size_t p = 0; p < n_prefills; ++p) {
      for (size_t b = 0; b < n_budgets; ++b) {
        EvalColumn column{.policy = policy, .selection = options.selection};
        if (by_budget) {
          column.kv_budget = options.budgets[b];
          const KvBudget budget = KvBudget::parse(column.kv_budget);
          column.selection.budget.n_tokens = budget.n_tokens;
          column.selection.budget.fraction = budget.fraction;
        }
        if (by_prefill) {
          column.selection.prefill = options.prefills[p];
          column.prefill = enum_name(options.prefills[p]);
        }
        add_column(columns, std::move(column));
      }
    }
  }
  return columns;
}

int64_t least_budget(const PolicyEntry& policy, const SelectionSettings& selection,
                     const AdapterSet& adapters) {
  int64_t sink = kDefaultSink;
  int64_t window = kDefaultWindow;
  int64_t max_chunk = kDefaultMaxChunk;
  if (const Adapter* adapter = adapter_for(policy, adapters)) {
    sink = adapter->config.sink;
    window = adapter->config.window;
    max_chunk = adapter->config.max_chunk;
  }
  if (policy.reads(Setting::kWindow)) window = selection.window.value_or(window);
  return selection.budget.least_tokens(selection.sink.value_or(sink), window, max_chunk);
}

std::optional<int64_t> least_budget_above(const PolicyEntry& policy,
                                          const SelectionSettings& selection,
                                          const AdapterSet& adapters, int64_t ctx) {
  const KvBudget& budget = selection.budget;
  if (!policy.reads(Setting::kKvBudget) || !budget.fraction || *budget.fraction >= 1.0) {
    return std::nullopt;
  }
  const int64_t least = least_budget(policy, selection, adapters);
  if (*budget.fraction * static_cast<double>(ctx) >= static_cast<double>(least)) {
    return std::nullopt;
  }
  return least;
}

}  // namespace chunkllm
