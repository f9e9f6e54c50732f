// Qwen 1.5, 2 and 2.5: biases of queries, keys and values. config.json names a sliding window even
// where use_sliding_window turns it off.
#include "model/families/families.h"

namespace chunkllm {
namespace {

constexpr const char* kDefaults = R"({
  "num_key_value_heads": 32, "max_position_embeddings": 32768,
  "sliding_window": 4096, "max_window_layers": 28})";

void configure(const JsonFields& fields, const std::string& where, ModelConfig& config) {
  config.qkv_bias = true;
  if (fields.boolean_or("use_sliding_window", false)) read_sliding_layers(fields, where, config);
}

}  // namespace

constexpr Architecture kQwen2{
    .model_type = "qwen2", .gguf = "qwen2", .defaults = kDefaults, .configure = configure};

}  // namespace chunkllm
