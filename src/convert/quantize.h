// A model as a GGUF file of another precision.
#pragma once

#include <cstdint>
#include <filesystem>
#include <functional>
#include <string>
#include <vector>

#include "base/cancel.h"
#include "base/dtype.h"

namespace chunkllm {

struct QuantizeOptions {
  std::filesystem::path in;   // Hugging Face folder or GGUF file
  std::filesystem::path out;  // GGUF file
  DType type = DType::kQ8_0;  // of matrices: one of writable_types()
};

struct QuantizeResult {
  int64_t n_tensors = 0;
  int64_t n_parameters = 0;
  int64_t out_bytes = 0;             // of the tensors
  std::vector<std::string> notices;  // one line each: what was stored otherwise than asked, and why
};

// Writes `in` to `out`, which replaces an older file only when it is complete. Vectors become F32,
// matrices `type`; where that is quantised the matrix of the logits becomes kQ8_0, and a matrix
// whose rows are no whole blocks becomes kF16. Metadata of a GGUF file stay as they are. Few rows
// at a time are in memory; uses all threads. Progress is in bytes written. Throws Error: as
// load_weights() and the tokenizer's readers do; kData for a weight that is not finite or too large
// for the type; kUnsupported for quantised matrices that would be quantised otherwise; kIo,
// kInterrupted.
QuantizeResult quantize_model(
    const QuantizeOptions& options,
    const std::function<void(int64_t n_done, int64_t n_total)>& on_progress = {},
    const CancelToken* cancel = nullptr);

}  // namespace chunkllm
