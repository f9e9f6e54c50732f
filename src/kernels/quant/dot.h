// Products of quantised weights with few rows of int8 inputs: what a decode step needs. Integer dot
// products inside a block of 32 inputs, float32 between blocks.
#pragma once

#include <cstdint>

#include "kernels/quant/layout.h"

namespace chunkllm {

// A kernel computes y[t * y_stride + o] for the 16 outputs o of one panel and the rows t in
// [0, n_tokens) of `x`, n_tokens being at most kMaxDotTokens. Reads n_units whole units.
using QuantDotKernel = void (*)(const uint8_t* panel, int64_t n_units, const Int8Rows& x,
                                int64_t n_tokens, float* y, int64_t y_stride);

inline constexpr int64_t kMaxDotTokens = 4;

// The kernel for `dtype` at the level in use. Throws Error (kUnsupported) for a type that is not
// quantised.
QuantDotKernel quant_dot_kernel(DType dtype);

}  // namespace chunkllm
