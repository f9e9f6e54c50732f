// Llama 1 to 3.x and models of their shape (TinyLlama, SmolLM, Yi).
#include "base/error.h"
#include "model/families/families.h"

namespace chunkllm {
namespace {

void configure(const JsonFields& fields, const std::string& where, ModelConfig& config) {
  const bool bias = fields.boolean_or("attention_bias", false);
  config.qkv_bias = bias;
  config.output_bias = bias;
  config.ffn_bias = fields.boolean_or("mlp_bias", false);
  refuse_sliding_window(fields, where, config);
  if (fields.integer_or("pretraining_tp", 0, int64_t{1} << 20, 1) > 1) {
    fail(ErrorCode::kUnsupported, "{}: pretraining_tp above 1 is not supported", where);
  }
}

// GGUF files call Mistral llama.
void read_gguf(const GgufFile&, const std::string&, nlohmann::json& fields) {
  if (fields.contains("sliding_window")) fields["model_type"] = "mistral";
}

}  // namespace

constexpr Architecture kLlama{.model_type = "llama",
                              .gguf = "llama",
                              .gguf_interleaves = true,
                              .configure = configure,
                              .read_gguf = read_gguf};

}  // namespace chunkllm
