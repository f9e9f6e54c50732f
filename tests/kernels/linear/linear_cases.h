// Inputs of products, and what their sums may be off by.
#pragma once

#include <cmath>
#include <cstdint>
#include <limits>
#include <vector>

#include "base/random.h"

namespace chunkllm::test {

// Products of float32 values, or exact ones of bfloat16, are summed in float32 in an unknown order:
// the error of a sum of n terms of random sign grows like sqrt(n) epsilon times its norm.
inline double sum_tolerance(int64_t n_terms) {
  return 2 * std::numeric_limits<float>::epsilon() * std::sqrt(1.0 + static_cast<double>(n_terms));
}

inline std::vector<float> random_values(int64_t n, uint64_t seed) {
  Rng rng(seed);
  std::vector<float> values(static_cast<size_t>(n));
  for (float& value : values) value = static_cast<float>(rng.normal());
  return values;
}

}  // namespace chunkllm::test
