// The units in which fits see their features.
#pragma once

#include <algorithm>
#include <cmath>
#include <span>
#include <vector>

namespace chunkllm {

// 1 / RMS of each feature from its mean square, computed in T, which decides the last bit.
template <typename T>
std::vector<float> feature_scales(std::span<const T> mean_squares) {
  constexpr T kSmallest = T(1e-6);  // a feature that is always zero teaches nothing
  std::vector<float> scales;
  scales.reserve(mean_squares.size());
  for (const T square : mean_squares) {
    scales.push_back(static_cast<float>(1 / std::max(std::sqrt(square), kSmallest)));
  }
  return scales;
}

}  // namespace chunkllm
