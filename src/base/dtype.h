// Element types of stored tensors.
#pragma once

#include <cstdint>
#include <string_view>

namespace chunkllm {

enum class DType { kF32, kF16, kBf16, kI32, kI64, kU8 };

// Bytes of one element.
int64_t dtype_bytes(DType dtype);

// The name safetensors gives the type: "F32", "BF16", ...
std::string_view dtype_name(DType dtype);

// A view of a row-major matrix in a checkpoint, owned by whoever owns the checkpoint.
struct MatrixView {
  DType dtype = DType::kF32;   // kF32, kF16 or kBf16
  const void* data = nullptr;  // [n_rows, n_cols]; may be unaligned
  int64_t n_rows = 0;
  int64_t n_cols = 0;
};

// Converts `n` elements of kF32, kF16 or kBf16 at `source` (any alignment) to float32. Exact.
void convert_to_float(DType dtype, const void* source, int64_t n, float* target);

}  // namespace chunkllm
