// How GGUF files name and store what Hugging Face's checkpoints hold.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

namespace chunkllm {

// GGUF's factors by which rotary frequencies are divided, F32 [head_dim / 2]; Hugging Face computes
// them from config.json.
inline constexpr const char* kRopeDivisors = "rope_freqs.weight";

// "blk.3.attn_q.weight" <-> "model.layers.3.self_attn.q_proj.weight"; nothing for other tensors.
std::optional<std::string> hf_tensor_name(std::string_view gguf_name);
std::optional<std::string> gguf_tensor_name(std::string_view hf_name);

// The architecture under which GGUF files have a model_type of config.json, or nothing.
std::optional<std::string_view> gguf_architecture(std::string_view model_type);

// Llama's queries and keys are stored with the two halves of each head interleaved, because ggml
// rotates neighbouring numbers for this architecture and not, as Hugging Face does, the halves.
// Whether the rows of this tensor (its Hugging Face name, weight or bias) are.
bool has_interleaved_rows(std::string_view architecture, std::string_view hf_name);

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
