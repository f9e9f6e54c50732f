// From which length on a policy is faster than `full`, measured on this machine with this model.
#pragma once

#include <cstdint>
#include <limits>

#include "base/cancel.h"
#include "engine/session.h"

namespace chunkllm {

// Seconds a prefilled token takes after `n` tokens: fixed + per_row * n.
struct TokenCost {
  double fixed = 0;
  double per_row = 0;

  // The line through two points.
  static TokenCost through(int64_t n0, double seconds0, int64_t n1, double seconds1);
};

inline constexpr int64_t kNeverFaster = std::numeric_limits<int64_t>::max();

// The share of a prompt's time that must be saved before a policy is called faster: what is less
// may be the error of the measurement.
inline constexpr double kLeastGain = 0.05;

// The length of prompt from which on the selecting policy takes 1 - kLeastGain of the time of
// `full`, or less, if up to `n_same` tokens both do the same; kNeverFaster if there is none.
int64_t crossover_length(const TokenCost& full, const TokenCost& selecting, int64_t n_same);

struct Crossover {
  int64_t n_same = 0;               // up to so many tokens the policy does what `full` does
  int64_t n_tokens = kNeverFaster;  // prompts of at least so many tokens are faster under it
  double seconds = 0;               // that the measurement took; 0 if none was needed
};

// Times blocks of a prefill under `full` and under the policy of `options` by turns, after made-up
// contexts, and solves for crossover_length(). `options` are those of the session to come, their
// policy one that reads a budget. The engine must have its weights and an adapter. Takes about as
// long as 5000 tokens of prefill, or no time where both would do the same. Throws Error;
// (kInterrupted) when cancelled.
Crossover measure_crossover(const Engine& engine, const SessionOptions& options,
                            const CancelToken* cancel = nullptr);

}  // namespace chunkllm
