// What a model is: the fields of a Hugging Face config.json, or of a GGUF
// file's metadata, that the engine acts on.
#pragma once

#include <cstdint>
#include <filesystem>
#include <string>
#include <vector>

#include "base/json.h"
#include "model/rope.h"

namespace chunkllm {

struct Architecture;

// What the FFN does to its gate.
enum class Activation { kSilu, kGeluTanh };

struct ModelConfig {
  std::string model_type;                // "llama", "qwen2", ...
  const Architecture* family = nullptr;  // never null in a configuration that was read
  int64_t n_layers = 0;
  int64_t d_model = 0;
  int64_t n_heads = 0;
  int64_t n_kv_heads = 0;
  int64_t head_dim = 0;
  int64_t d_ff = 0;
  int64_t n_vocab = 0;
  int64_t max_positions = 0;  // the context the model was made for
  float rms_norm_epsilon = 0.0f;
  RopeConfig rope;
  Activation activation = Activation::kSilu;
  float embedding_scale = 1.0f;  // what embeddings are multiplied by
  double query_scalar = 0.0;     // scores are divided by its square root; 0: head_dim
  // Sliding layers attend to the last `window` tokens, the current one included.
  int64_t window = 0;                // 0: no layer slides
  std::vector<bool> sliding_layers;  // [n_layers], or empty
  RopeConfig sliding_rope;           // of those layers
  bool tied_embeddings = false;
  bool qkv_bias = false;         // q_proj, k_proj and v_proj add a bias
  bool output_bias = false;      // o_proj does
  bool ffn_bias = false;         // gate_proj, up_proj and down_proj do
  bool qk_norm = false;          // an RMSNorm of each head of queries and keys
  std::vector<int32_t> eos_ids;  // from generation_config.json where it is there, else config.json

  int64_t q_dim() const { return n_heads * head_dim; }
  int64_t kv_dim() const { return n_kv_heads * head_dim; }
  // What the dot products of queries and keys are multiplied by.
  float attention_scale() const;
  bool slides(int64_t layer) const {
    return !sliding_layers.empty() && sliding_layers[static_cast<size_t>(layer)];
  }
  const RopeConfig& rope_of(int64_t layer) const { return slides(layer) ? sliding_rope : rope; }
  // Rows that the last of `n_tokens` tokens can see in a layer.
  int64_t rows_visible(int64_t layer, int64_t n_tokens) const {
    return slides(layer) && n_tokens > window ? window : n_tokens;
  }
};

// Reads a model's configuration: of a Hugging Face folder config.json (the old spelling, rope_theta
// and rope_scaling, and the new one, rope_parameters) and generation_config.json; of a GGUF file
// its metadata. Throws Error: kIo if the file cannot be read, kData for a field that is missing or
// impossible, kUnsupported naming what the engine cannot do.
ModelConfig read_model_config(const std::filesystem::path& model);

// The same from the fields of a config.json; `where` names the file in errors.
ModelConfig parse_model_config(const nlohmann::json& json, const std::string& where);

}  // namespace chunkllm
