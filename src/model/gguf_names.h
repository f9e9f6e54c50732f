// How GGUF files name and store what Hugging Face's checkpoints hold.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "model/architecture.h"

namespace chunkllm {

// GGUF's factors by which rotary frequencies are divided, F32 [head_dim / 2]; Hugging Face computes
// them from config.json.
inline constexpr const char* kRopeDivisors = "rope_freqs.weight";

// "blk.3.attn_q.weight" <-> "model.layers.3.self_attn.q_proj.weight"; nothing for tensors that the
// family does not have.
std::optional<std::string> hf_tensor_name(const Architecture& family, std::string_view gguf_name);
std::optional<std::string> gguf_tensor_name(const Architecture& family, std::string_view hf_name);

// Whether a GGUF file has the rows of this tensor (its Hugging Face name, weight or bias) in
// another order; see Architecture.
bool has_interleaved_rows(const Architecture& family, std::string_view hf_name);

// What is added to a tensor of a folder to have it as it is applied, and as GGUF files hold it: its
// Hugging Face name.
float folder_offset(const Architecture& family, std::string_view hf_name);

// The row of a GGUF file that holds row `row` of the Hugging Face tensor with interleaved rows.
inline int64_t interleaved_row(int64_t row, int64_t head_dim) {
  const int64_t in_head = row % head_dim;
  const int64_t half = head_dim / 2;
  return row - in_head + 2 * (in_head % half) + in_head / half;
}

// The other way: the Hugging Face row that lies in row `row` of a GGUF file.
inline int64_t halved_row(int64_t row, int64_t head_dim) {
  const int64_t in_head = row % head_dim;
  return row - in_head + in_head / 2 + (in_head % 2) * (head_dim / 2);
}

}  // namespace chunkllm
