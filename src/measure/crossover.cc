#include "measure/crossover.h"

#include <algorithm>
#include <cmath>
#include <utility>
#include <vector>

#include "base/timer.h"
#include "measure/synthetic_context.h"

namespace chunkllm {
namespace {

constexpr int64_t kBlockTokens = 128;
constexpr int64_t kBlocks = 2;  // timed of a prompt
constexpr int kRounds = 2;      // prompts at a depth under each policy, by turns

// Tokens up to which the policy attends to everything, and so does what `full` does.
int64_t same_until(const Adapter& adapter, const SelectionSettings& settings) {
  const SelectionSettings all = settings_with_defaults(settings, &adapter);
  const int64_t least =
      settings.budget.least_tokens(*all.sink, *all.window, adapter.config.max_chunk);
  const auto same = [least](const KvBudget& budget) -> int64_t {
    if (budget.top_k_chunks) return 0;
    if (!budget.fraction) return budget.n_tokens;
    return *budget.fraction >= 1.0 ? kNeverFaster : least;
  };
  return std::max({same(settings.budget), same(settings.prefill_budget.value_or(settings.budget)),
                   settings.prefill_floor});
}

// Times prompts after a made-up context under one policy.
class DepthTimer {
 public:
  DepthTimer(const Engine& engine, SessionOptions options, const PolicyEntry& policy, int64_t depth)
      // The prompt's tail and its last block are not timed.
      : n_prompt_((kBlocks + 2) * kBlockTokens + options.selection.prompt_tail),
        depth_(depth),
        session_(engine, at_depth(options, policy, depth + n_prompt_)) {
    fill_with_noise(session_, depth, 1);
  }

  // Runs a prompt and forgets it.
  void run(const CancelToken* cancel) {
    const std::vector<int32_t> prompt(static_cast<size_t>(n_prompt_), session_.tokens().front());
    const int64_t end = n_prompt_ - 1;
    int64_t n_blocks = 0;
    int64_t n_done = session_.n_done();
    Timer timer;
    const auto time_block = [&](int64_t, int64_t) {
      const auto n_tokens = static_cast<double>(session_.n_done() - n_done);
      // The first block may be short.
      if (n_blocks > 0 && n_blocks <= kBlocks) {
        token_seconds_ = std::min(token_seconds_, timer.seconds() / n_tokens);
      }
      ++n_blocks;
      n_done = session_.n_done();
      timer = Timer();
    };
    session_.prefill(prompt, {&end, 1}, time_block, cancel);
    session_.truncate(depth_);
  }

  // Of one prefilled token: the least so far.
  double token_seconds() const { return token_seconds_; }

 private:
  static SessionOptions at_depth(SessionOptions options, const PolicyEntry& policy, int64_t ctx) {
    options.policy = &policy;
    options.ctx = ctx;
    options.block_tokens = kBlockTokens;
    return options;
  }

  int64_t n_prompt_;
  int64_t depth_;
  Session session_;
  double token_seconds_ = INFINITY;
};

}  // namespace

TokenCost TokenCost::through(int64_t n0, double seconds0, int64_t n1, double seconds1) {
  TokenCost cost;
  cost.per_row = (seconds1 - seconds0) / static_cast<double>(n1 - n0);
  cost.fixed = seconds0 - cost.per_row * static_cast<double>(n0);
  return cost;
}

// A prompt of n tokens takes full.fixed n + full.per_row n^2 / 2 under `full`. Of that the other
// policy saves
//   (full.fixed - selecting.fixed) (n - n_same)
//   + (full.per_row - selecting.per_row) (n^2 - n_same^2) / 2.
// What it saves beyond kLeastGain is a n^2 + b n + c, which is not above 0 at n_same: wanted is the
// greater root.
int64_t crossover_length(const TokenCost& full, const TokenCost& selecting, int64_t n_same) {
  const auto same = static_cast<double>(n_same);
  const double saved_fixed = full.fixed - selecting.fixed;
  const double saved_per_row = full.per_row - selecting.per_row;
  const double a = (saved_per_row - kLeastGain * full.per_row) / 2;
  const double b = saved_fixed - kLeastGain * full.fixed;
  const double c = -saved_fixed * same - saved_per_row * same * same / 2;
  if (!(a > 0)) return kNeverFaster;
  const double n = (-b + std::sqrt(b * b - 4 * a * c)) / (2 * a);
  if (!(n < 1e15)) return kNeverFaster;
  return std::max(n_same + 1, static_cast<int64_t>(std::ceil(n)));
}

Crossover measure_crossover(const Engine& engine, const SessionOptions& options,
                            const CancelToken* cancel) {
  const Timer timer;
  Crossover crossover;
  crossover.n_same =
      same_until(*adapter_for(*options.policy, engine.adapters()), options.selection);
  if (crossover.n_same >= options.ctx) return crossover;
  // Deep enough that the selection is at work, and far enough apart for a slope.
  const int64_t near_depth = std::max<int64_t>(2 * crossover.n_same, 2048);
  const int64_t far_depth = 2 * near_depth;
  SessionOptions measured = options;
  measured.selection.refresh = RefreshKind::kPromptEnd;
  measured.selection.prefill = PrefillKind::kChunk;
  const auto costs_at = [&](int64_t depth) {
    DepthTimer full(engine, measured, full_policy(), depth);
    DepthTimer selecting(engine, measured, *options.policy, depth);
    for (int i = 0; i < kRounds; ++i) {
      full.run(cancel);
      selecting.run(cancel);
    }
    return std::pair(full.token_seconds(), selecting.token_seconds());
  };
  const auto [full_near, selecting_near] = costs_at(near_depth);
  const auto [full_far, selecting_far] = costs_at(far_depth);
  const TokenCost full = TokenCost::through(near_depth, full_near, far_depth, full_far);
  const TokenCost selecting =
      TokenCost::through(near_depth, selecting_near, far_depth, selecting_far);
  crossover.n_tokens = crossover_length(full, selecting, crossover.n_same);
  crossover.seconds = timer.seconds();
  return crossover;
}

}  // namespace chunkllm
