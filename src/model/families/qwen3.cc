// Qwen 3: RMSNorm of every head of queries and keys before the rotary embedding.
#include "model/families/families.h"

namespace chunkllm {
namespace {

constexpr const char* kDefaults = R"({
  "num_key_value_heads": 32, "head_dim": 128, "max_position_embeddings": 32768,
  "sliding_window": 4096, "max_window_layers": 28})";

void configure(const JsonFields& fields, const std::string& where, ModelConfig& config) {
  config.qk_norm = true;
  const bool bias = fields.boolean_or("attention_bias", false);
  config.qkv_bias = bias;
  config.output_bias = bias;
  if (fields.boolean_or("use_sliding_window", false)) read_sliding_layers(fields, where, config);
}

}  // namespace

constexpr Architecture kQwen3{
    .model_type = "qwen3", .gguf = "qwen3", .defaults = kDefaults, .configure = configure};

}  // namespace chunkllm
