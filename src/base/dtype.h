// Element types of stored tensors: what can be done with a DType.
#pragma once

#include <cstdint>
#include <string_view>

#include "base/quant/formats.h"

namespace chunkllm {

// Elements that are stored together: 1, or the block of a quantised type. Rows are whole
// blocks.
int64_t dtype_block_elements(DType dtype);

// Bytes of one such block; for the types that are not quantised, of one element.
int64_t dtype_block_bytes(DType dtype);

// Bytes of one element. Throws Error (kUnsupported) for a quantised type.
int64_t dtype_bytes(DType dtype);

// Bytes of `n` elements, a whole number of blocks.
inline int64_t dtype_row_bytes(DType dtype, int64_t n) {
  return n / dtype_block_elements(dtype) * dtype_block_bytes(dtype);
}

inline bool is_quantized(DType dtype) { return dtype_block_elements(dtype) > 1; }

// Whether elements are numbers that convert_to_float() reads, quantised types aside.
bool is_floating(DType dtype);

// The name that safetensors, or GGUF, gives the type: "F32", "BF16", "Q4_K", ...
std::string_view dtype_name(DType dtype);

// A view of a row-major matrix in a checkpoint, owned by whoever owns the checkpoint.
struct MatrixView {
  DType dtype = DType::kF32;   // a floating or quantised type
  const void* data = nullptr;  // [n_rows, n_cols]; may be unaligned
  int64_t n_rows = 0;
  int64_t n_cols = 0;
};

// Converts `n` elements, for quantised types whole blocks, at `source` (any alignment) to float32:
// exact for kF32, kF16 and kBf16; the float32 value of quantised ones as base/quant/formats.h
// defines it.
void convert_to_float(DType dtype, const void* source, int64_t n, float* target);

}  // namespace chunkllm
