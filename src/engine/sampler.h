// From logits to the next token.
#pragma once

#include <cstdint>
#include <span>
#include <utility>
#include <vector>

#include "base/random.h"

namespace chunkllm {

struct SamplingOptions {
  double temperature = 0.0;  // 0: the largest logit, ties to the lower id
  int64_t top_k = 0;         // keep this many of the largest; 0: all
  double top_p = 1.0;        // keep the fewest whose probabilities sum to at least this
  uint64_t seed = 0;
};

// The order is top-k, temperature, top-p. One thread at a time.
class Sampler {
 public:
  // Throws Error (kInvalidArgument) for options out of range.
  explicit Sampler(const SamplingOptions& options);

  // Throws Error (kData) if a logit is NaN.
  int32_t sample(std::span<const float> logits);

 private:
  SamplingOptions options_;
  Rng rng_;
  std::vector<std::pair<float, int32_t>> candidates_;  // reused
};

}  // namespace chunkllm
