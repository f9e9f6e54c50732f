// Products of quantised weights with rows of int8 inputs. Integer dot products inside a block of 32
// inputs, float32 between blocks; a row's result does not depend on how many there are.
#pragma once

#include <cstdint>

#include "kernels/quant/layout.h"

namespace chunkllm {

// A kernel computes y[t * y_stride + o] for the 16 outputs o of one panel and the rows t in
// [0, n_tokens) of `x`, n_tokens being at most kMaxDotTokens. Reads n_units whole units.
using QuantDotKernel = void (*)(const uint8_t* panel, int64_t n_units, const Int8Rows& x,
                                int64_t n_tokens, float* y, int64_t y_stride);

inline constexpr int64_t kMaxDotTokens = 4;

// Bytes of a block's codes when they are unpacked: one a byte, in the order of an 8-bit plane.
inline constexpr int64_t kUnpackedBlockBytes = kQuantGroups * kQuantVectorBytes;

// The kernels for a type. For many rows codes are unpacked once, instead of once for every
// kMaxDotTokens.
struct QuantDot {
  QuantDotKernel few = nullptr;
  // Null where that does not pay. Writes the codes of a panel's blocks [n_blocks,
  // kUnpackedBlockBytes]; n_blocks is that of `x`.
  void (*unpack)(const uint8_t* panel, int64_t n_units, uint8_t* codes) = nullptr;
  // As `few` for kMaxDotTokens rows, with the panel's codes unpacked.
  void (*unpacked)(const uint8_t* panel, const uint8_t* codes, int64_t n_units, const Int8Rows& x,
                   float* y, int64_t y_stride) = nullptr;
};

// Those for `dtype` at the level in use. Throws Error (kUnsupported) for a type that is not
// quantised.
const QuantDot& quant_dot(DType dtype);

}  // namespace chunkllm
