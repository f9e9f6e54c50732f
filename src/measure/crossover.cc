#include "measure/crossover.h"

#include <algorithm>
#include <cmath>
#include <vector>

#include "base/timer.h"
#include "measure/synthetic_context.h"

namespace chunkllm {
namespace {

constexpr int64_t kBlockTokens = 128;
constexpr int64_t kBlocks = 3;  // timed at a depth; the quickest counts

// Tokens up to which the policy attends to everything, and so does what `full` does.
int64_t same_until(const Engine& engine, const SelectionSettings& settings) {
  const SelectionSettings all = settings_with_defaults(settings, engine.adapter());
  const int64_t least =
      settings.budget.least_tokens(*all.sink, *all.window, engine.adapter()->config.max_chunk);
  const auto same = [least](const KvBudget& budget) -> int64_t {
    if (budget.top_k_chunks) return 0;
    if (!budget.fraction) return budget.n_tokens;
    return *budget.fraction >= 1.0 ? kNeverFaster : least;
  };
  return std::max({same(settings.budget), same(settings.prefill_budget.value_or(settings.budget)),
                   settings.prefill_floor});
}

// Seconds of one prefilled token after about `depth` others.
double token_seconds(const Engine& engine, SessionOptions options, int64_t depth) {
  // One prompt whose tail and last block are not timed.
  const int64_t n_prompt = (kBlocks + 2) * kBlockTokens + options.selection.prompt_tail;
  options.ctx = depth + n_prompt;
  options.block_tokens = kBlockTokens;
  Session session(engine, options);
  fill_with_noise(session, depth, 1);
  const std::vector<int32_t> prompt(static_cast<size_t>(n_prompt), session.tokens().front());
  const int64_t end = n_prompt - 1;
  double least = INFINITY;
  int64_t n_blocks = 0;
  int64_t n_done = session.n_done();
  Timer timer;
  session.prefill(prompt, {&end, 1}, [&](int64_t, int64_t) {
    const auto n_tokens = static_cast<double>(session.n_done() - n_done);
    // The first block may be short.
    if (n_blocks > 0 && n_blocks <= kBlocks) least = std::min(least, timer.seconds() / n_tokens);
    ++n_blocks;
    n_done = session.n_done();
    timer = Timer();
  });
  return least;
}

TokenCost token_cost(const Engine& engine, SessionOptions options, const PolicyEntry& policy,
                     int64_t near_depth, int64_t far_depth) {
  options.policy = &policy;
  return TokenCost::through(near_depth, token_seconds(engine, options, near_depth), far_depth,
                            token_seconds(engine, options, far_depth));
}

}  // namespace

TokenCost TokenCost::through(int64_t n0, double seconds0, int64_t n1, double seconds1) {
  TokenCost cost;
  cost.per_row = (seconds1 - seconds0) / static_cast<double>(n1 - n0);
  cost.fixed = seconds0 - cost.per_row * static_cast<double>(n0);
  return cost;
}

// Both costs summed from n_same to n are equal where
// (full.fixed - selecting.fixed) + (full.per_row - selecting.per_row) (n + n_same) / 2 = 0.
int64_t crossover_length(const TokenCost& full, const TokenCost& selecting, int64_t n_same) {
  const double gained = full.per_row - selecting.per_row;
  const double lost = selecting.fixed - full.fixed;
  if (!(gained > 0)) return kNeverFaster;
  const double n = 2 * lost / gained - static_cast<double>(n_same);
  if (!(n < 1e15)) return kNeverFaster;
  return std::max(n_same + 1, static_cast<int64_t>(std::ceil(n)));
}

Crossover measure_crossover(const Engine& engine, const SessionOptions& options) {
  const Timer timer;
  Crossover crossover;
  crossover.n_same = same_until(engine, options.selection);
  if (crossover.n_same >= options.ctx) return crossover;
  // Deep enough that the selection is at work, and far enough apart for a slope.
  const int64_t near_depth = std::max<int64_t>(2 * crossover.n_same, 2048);
  const int64_t far_depth = 2 * near_depth;
  SessionOptions measured = options;
  measured.selection.refresh = RefreshKind::kPromptEnd;
  measured.selection.prefill = PrefillKind::kChunk;
  const TokenCost full = token_cost(engine, measured, full_policy(), near_depth, far_depth);
  const TokenCost selecting = token_cost(engine, measured, *options.policy, near_depth, far_depth);
  crossover.n_tokens = crossover_length(full, selecting, crossover.n_same);
  crossover.seconds = timer.seconds();
  return crossover;
}

}  // namespace chunkllm
