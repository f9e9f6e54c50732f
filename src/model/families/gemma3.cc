// Gemma 3, its text part: layers that slide beside layers that attend to everything, each kind with
// a rotary embedding of its own, norms before and after attention and FFN, GeGLU, embeddings times
// sqrt(d_model).
#include <cmath>

#include "base/error.h"
#include "model/config_limits.h"
#include "model/families/families.h"

namespace chunkllm {
namespace {

constexpr int64_t kPattern = 6;       // every sixth layer attends to everything
constexpr double kLocalBase = 1e4;    // rotary base of layers that slide
constexpr int64_t kLayersOf27B = 62;  // of the model whose query scale llama.cpp sets apart

constexpr const char* kDefaults = R"({
  "vocab_size": 262208, "hidden_size": 2304, "intermediate_size": 9216, "num_hidden_layers": 26,
  "num_attention_heads": 8, "num_key_value_heads": 4, "head_dim": 256,
  "hidden_activation": "gelu_pytorch_tanh", "max_position_embeddings": 131072,
  "rms_norm_eps": 1e-6, "tie_word_embeddings": true, "query_pre_attn_scalar": 256,
  "sliding_window": 4096, "sliding_window_pattern": 6,
  "rope_theta": 1000000.0, "rope_local_base_freq": 10000.0})";

void configure(const JsonFields& fields, const std::string& where, ModelConfig& config) {
  for (const char* name : {"attn_logit_softcapping", "final_logit_softcapping"}) {
    if (!fields.has(name)) continue;
    fail(ErrorCode::kUnsupported, "{}: {} is set, which is not supported", where, name);
  }
  if (fields.boolean_or("use_bidirectional_attention", false)) {
    fail(ErrorCode::kUnsupported, "{}: use_bidirectional_attention is not supported", where);
  }
  config.qk_norm = true;
  config.qkv_bias = config.output_bias = fields.boolean_or("attention_bias", false);
  config.embedding_scale = std::sqrt(static_cast<float>(config.d_model));
  config.query_scalar = fields.number("query_pre_attn_scalar", 1e-6, 1e9);
  read_sliding_layers(fields, where, config);
}

// As llama.cpp derives it, since files do not say.
double query_scalar(int64_t n_layers, int64_t d_model, int64_t n_heads, int64_t head_dim) {
  return static_cast<double>(n_layers == kLayersOf27B ? d_model / n_heads : head_dim);
}

void read_gguf(const GgufFile& file, const std::string& prefix, nlohmann::json& fields) {
  const auto own = [&](const char* name) { return fields.at(name).get<int64_t>(); };
  fields["query_pre_attn_scalar"] = query_scalar(own("num_hidden_layers"), own("hidden_size"),
                                                 own("num_attention_heads"), own("head_dim"));
  if (const double scale = file.number_or(prefix + "attention.scale", 0.0); scale > 0) {
    fields["query_pre_attn_scalar"] = 1 / (scale * scale);
  }
  fields["rope_local_base_freq"] = file.number_or(prefix + "rope.freq_base_swa", kLocalBase);
  fields["sliding_window_pattern"] =
      file.integer_or(prefix + "attention.sliding_window_pattern", 1, kMaxLayers, kPattern);
  if (!fields.contains("sliding_window")) fields["sliding_window"] = nullptr;
}

// The least pattern that these layers follow.
int64_t pattern_of(const ModelConfig& config) {
  for (int64_t pattern = 1; pattern <= config.n_layers + 1; ++pattern) {
    bool follows = true;
    for (int64_t i = 0; i < config.n_layers; ++i) {
      follows = follows && config.slides(i) == ((i + 1) % pattern != 0);
    }
    if (follows) return pattern;
  }
  fail(ErrorCode::kUnsupported,
       "the layers that slide follow no pattern of equal steps, and a GGUF file cannot say which "
       "they are");
}

std::string write_gguf(const ModelConfig& config, const std::string& prefix,
                       GgufMetadata& metadata) {
  const int64_t pattern = pattern_of(config);
  metadata.set_u32(prefix + "attention.sliding_window", static_cast<uint32_t>(config.window));
  if (pattern != kPattern && config.window > 0) {
    metadata.set_u32(prefix + "attention.sliding_window_pattern", static_cast<uint32_t>(pattern));
  }
  if (config.sliding_rope.theta != kLocalBase) {
    metadata.set_f32(prefix + "rope.freq_base_swa", static_cast<float>(config.sliding_rope.theta));
  }
  if (config.sliding_rope.kind != RopeKind::kDefault) {
    fail(ErrorCode::kUnsupported,
         "a GGUF file cannot say that the rotary embedding of the layers that slide is stretched");
  }
  const double derived =
      query_scalar(config.n_layers, config.d_model, config.n_heads, config.head_dim);
  if (config.query_scalar == derived) return "";
  metadata.set_f32(prefix + "attention.scale", config.attention_scale());
  return fmt::format("llama.cpp takes the query scale to be 1 / sqrt({}), not 1 / sqrt({})",
                     derived, config.query_scalar);
}

}  // namespace

constexpr Architecture kGemma3{.model_type = "gemma3_text",
                               .wrapper = "gemma3",
                               .gguf = "gemma3",
                               .defaults = kDefaults,
                               .activation_key = "hidden_activation",
                               .sliding_theta = "rope_local_base_freq",
                               .own_query_scale = true,
                               .norms = {.after_attention = "post_attention_layernorm",
                                         .before_ffn = "pre_feedforward_layernorm",
                                         .after_ffn = "post_feedforward_layernorm"},
                               .norm_offset = 1.0f,
                               .configure = configure,
                               .read_gguf = read_gguf,
                               .write_gguf = write_gguf};

}  // namespace chunkllm
