// How large a model may say that it is. Within these limits no size in bytes overflows 64 bits.
#pragma once

#include <cstddef>
#include <cstdint>

namespace chunkllm {

inline constexpr int64_t kMaxDimension = int64_t{1} << 20;
inline constexpr int64_t kMaxLayers = 512;
inline constexpr int64_t kMaxHeads = 4096;
inline constexpr int64_t kMaxPositions = int64_t{1} << 30;
// Each token of an answer is looked for among those that end it.
inline constexpr size_t kMaxEndTokens = 1024;

}  // namespace chunkllm
