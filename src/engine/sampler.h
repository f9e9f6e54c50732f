// From logits to the next token.
#pragma once

#include <cstdint>
#include <span>
#include <utility>
#include <vector>

#include "base/random.h"

namespace chunkllm {

struct SamplingOptions {
  double temperature = 0.0;     // 0: the largest logit, ties to the lower id
  int64_t top_k = 0;            // keep this many of the largest; 0: all
  double top_p = 1.0;           // keep the fewest whose probabilities sum to at least this
  double min_p = 0.0;           // keep those at least this share as likely as the likeliest
  double repeat_penalty = 1.0;  // of tokens seen lately: logits above 0 are divided by it, others
                                // multiplied (CTRL, arXiv 1909.05858)
  int64_t repeat_last_n = 64;   // how many tokens back "lately" goes; 0: none, -1: all
  std::vector<int32_t> banned_ids = {};  // never chosen
  uint64_t seed = 0;
};

// The order is repeat penalty, top-k, temperature, top-p, min-p. One thread at a time.
class Sampler {
 public:
  // Throws Error (kInvalidArgument) for options out of range.
  explicit Sampler(const SamplingOptions& options);

  // The next token after `history`, all tokens so far, prompt included. Throws Error (kData) if a
  // logit is NaN.
  int32_t sample(std::span<const float> logits, std::span<const int32_t> history = {});

 private:
  // The logits after bans and penalties: `logits` itself where there are none.
  std::span<const float> adjusted(std::span<const float> logits, std::span<const int32_t> history);

  SamplingOptions options_;
  Rng rng_;
  std::vector<std::pair<float, int32_t>> candidates_;  // reused
  std::vector<float> adjusted_;                        // reused [n_vocab]
};

}  // namespace chunkllm
