// Qwen 3: RMSNorm of every head of queries and keys before the rotary embedding.
#include "model/families/families.h"

namespace chunkllm {
namespace {

constexpr int64_t kHeadDim = 128;  // where config.json leaves it out

void configure(const JsonFields& fields, const std::string& where, ModelConfig& config) {
  config.qk_norm = true;
  const bool bias = fields.boolean_or("attention_bias", false);
  config.qkv_bias = bias;
  config.output_bias = bias;
  if (!fields.has("head_dim")) config.head_dim = kHeadDim;
  if (fields.boolean_or("use_sliding_window", false)) refuse_sliding_window(fields, where, config);
}

}  // namespace

constexpr Architecture kQwen3{.model_type = "qwen3", .configure = configure};

}  // namespace chunkllm
