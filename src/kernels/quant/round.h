// Inputs of the integer kernels: rows of numbers in int8, a scale for each block of 32.
#pragma once

#include <cstdint>

#include "kernels/quant/layout.h"

namespace chunkllm {

// Rounds x [n_tokens, n_in] to int8, n_in a multiple of 32. Each block of 32 has the scale largest
// magnitude / 127 and the nearest multiples of it, ties to even; with a magnitude below 2^-100 it
// is zero, with one that is not finite its scale is NaN. The same bits at every level. The result
// lies in the calling thread's work space until its next call.
Int8Rows round_to_int8(const float* x, int64_t n_tokens, int64_t n_in);

}  // namespace chunkllm
