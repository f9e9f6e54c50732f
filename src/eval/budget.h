// The task `budget`: the smallest budget at which a policy keeps a share of what full attention
// reaches.
#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/range.h"
#include "eval/run.h"

namespace chunkllm {

// The budgets that are tried where a user names none.
inline constexpr std::string_view kSearchedBudgets[] = {"0.5", "0.35", "0.25", "0.18", "0.12",
                                                        "0.1", "0.07", "0.05", "0.03"};

// The last of `n` budgets, largest first, that `keeps` enough, found by bisection; nothing where
// not one of those asked does. The one after it, if there is one, was asked and does not. `keeps`
// is asked at most once of each; `open` are the budgets that still may be asked about, this one
// among them.
std::optional<int64_t> last_that_keeps(
    int64_t n, const std::function<bool(int64_t budget, Range open)>& keeps);

// What a search runs: questions about haystacks, and where the data has texts of these lengths
// their perplexity as well. Refers to the engine.
struct BudgetPlan {
  EvalPlan questions;
  std::optional<EvalPlan> texts = {};
  std::vector<std::string> notes = {};  // of the search, for the user

  // That the search would run if it left out no budget.
  int64_t most_cells() const;
};

// `task` asks the questions; `full` is added to the policies. Needs no weights. Throws Error:
// kInvalidArgument where no policy reads budgets; as plan_eval() does.
BudgetPlan plan_budget(const Engine& engine, const EvalTask& task, const EvalOptions& options);

// For each length, policy and way of reading prompts searches the smallest budget whose score is
// `keep` times that of `full`, or more, over the same samples, and under which the perplexity is
// at most that of `full` divided by `keep`. Cells of questions lie in `folder`, those of texts in
// its folder ppl, and are gone on with as by run_eval(). The report's JSON has `budgets` besides
// (docs/eval.md). Throws Error as run_eval() does.
EvalReport run_budget(const Engine& engine, BudgetPlan& plan, const std::filesystem::path& folder,
                      const EvalCallbacks& callbacks = {}, const CancelToken* cancel = nullptr);

}  // namespace chunkllm
