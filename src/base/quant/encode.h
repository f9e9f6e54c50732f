// Values rounded to the types that `quantize` writes.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>

#include "base/dtype.h"

namespace chunkllm {

// A type that models can be written in.
struct WritableType {
  DType dtype;
  uint32_t file_type;   // general.file_type of llama.cpp
  float largest_value;  // the largest magnitude that it can hold, whatever else is in a block
  // `n` finite values (whole blocks) to `target`, with ggml's rounding, so that files equal those
  // of its tools.
  void (*encode)(const float* source, int64_t n, std::byte* target);
};

// All of them, the best known first.
std::span<const WritableType> writable_types();

// The one for `dtype`. Throws Error (kInvalidArgument), naming those that there are.
const WritableType& writable_type(DType dtype);

}  // namespace chunkllm
