// The columns of an evaluation: policies, budgets and ways of reading prompts.
#pragma once

#include <cstdint>
#include <optional>
#include <vector>

#include "eval/task.h"
#include "select/chunk/adapter.h"

namespace chunkllm {

// Each policy of the options, in their order; those that read budgets with each budget, and, in a
// task that reads prompts, those that can read them in more than one way with each of these; full
// attention alone for a task without policies. Throws Error (kInvalidArgument) for a budget that is
// none, or a column that is there already.
std::vector<EvalColumn> make_columns(const EvalTask& task, const EvalOptions& options);

// The least tokens that a fraction stands for under a policy, with its adapter's settings where it
// needs one.
int64_t least_budget(const PolicyEntry& policy, const SelectionSettings& selection,
                     const AdapterSet& adapters);

// That number where the settings' fraction of `ctx` tokens has fewer, so that it
// would be another budget than it says; nothing where it is what it says.
std::optional<int64_t> least_budget_above(const PolicyEntry& policy,
                                          const SelectionSettings& selection,
                                          const AdapterSet& adapters, int64_t ctx);

}  // namespace chunkllm
