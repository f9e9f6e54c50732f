// Rounding of keys and values to the type of a KV cache.
#pragma once

#include <cstdint>

#include "kernels/attention/attention.h"

namespace chunkllm {

// to [n_rows] rows of head_dim elements = from, float32, row r at from + r * from_stride; `to`
// needs no alignment. Rounds to nearest, ties to even; NaN stays NaN, and what binary16 cannot hold
// becomes infinite. A block of q8_0 is d = max |x| / 127 rounded to binary16, and round(x / d); one
// with an element that is not finite gets a d that is not. head_dim is a multiple of 8 and
// kv_type_fits() it. One thread; any thread may call.
void round_kv_rows(KvType type, const float* from, int64_t from_stride, int64_t n_rows,
                   int64_t head_dim, void* to);

}  // namespace chunkllm
