// Mistral 7B, Nemo and Small: Llama's layers without biases. In version 0.1 of the first, all
// layers slide.
#include "model/families/families.h"

namespace chunkllm {
namespace {

constexpr const char* kDefaults =
    R"({"num_key_value_heads": 8, "max_position_embeddings": 131072, "sliding_window": 4096})";

std::string write_gguf(const ModelConfig& config, const std::string& prefix,
                       GgufMetadata& metadata) {
  if (config.window == 0) return "";
  metadata.set_u32(prefix + "attention.sliding_window", static_cast<uint32_t>(config.window));
  return "llama.cpp attends to everything where this model attends to a window";
}

}  // namespace

constexpr Architecture kMistral{.model_type = "mistral",
                                .gguf = "llama",
                                .defaults = kDefaults,
                                .gguf_interleaves = true,
                                .configure = read_sliding_layers,
                                .write_gguf = write_gguf};

}  // namespace chunkllm
