#include "model/config.h"

#include <limits>

#include "base/error.h"
#include "base/json.h"
#include "model/architecture.h"
#include "model/config_limits.h"
#include "model/gguf_config.h"

namespace chunkllm {
namespace {

constexpr int64_t kMaxTokenId = std::numeric_limits<int32_t>::max();

std::vector<int32_t> read_eos_ids(const nlohmann::json& object, const std::string& where) {
  std::vector<int32_t> ids;
  const auto found = object.find("eos_token_id");
  if (found == object.end() || found->is_null()) return ids;
  const nlohmann::json list = found->is_array() ? *found : nlohmann::json::array({*found});
  for (const nlohmann::json& id : list) {
    if (!id.is_number_integer() || id.get<int64_t>() < 0 || id.get<int64_t>() > kMaxTokenId) {
      fail(ErrorCode::kData, "{}: eos_token_id must be a token id or a list of them", where);
    }
    ids.push_back(id.get<int32_t>());
  }
  return ids;
}

void refuse_unsupported(const JsonFields& config, const std::string& where) {
  const std::string activation = config.string_or("hidden_act", "silu");
  if (activation != "silu") {
    fail(ErrorCode::kUnsupported, "{}: hidden_act '{}' is not supported; only 'silu' is", where,
         activation);
  }
  if (config.has("quantization_config")) {
    fail(ErrorCode::kUnsupported,
         "{}: quantization_config is set; use the checkpoint in F32, F16 or BF16", where);
  }
}

}  // namespace

ModelConfig parse_model_config(const nlohmann::json& json, const std::string& where) {
  const JsonFields fields(json, where);

  ModelConfig config;
  config.model_type = fields.string("model_type");
  const Architecture& architecture = find_architecture(config.model_type, where);
  refuse_unsupported(fields, where);
  config.n_layers = fields.integer("num_hidden_layers", 1, kMaxLayers);
  config.d_model = fields.integer("hidden_size", 1, kMaxDimension);
  config.n_heads = fields.integer("num_attention_heads", 1, kMaxHeads);
  config.n_kv_heads = fields.integer_or("num_key_value_heads", 1, config.n_heads, config.n_heads);
  config.d_ff = fields.integer("intermediate_size", 1, kMaxDimension);
  config.n_vocab = fields.integer("vocab_size", 1, kMaxDimension);
  config.max_positions = fields.integer_or("max_position_embeddings", 1, kMaxPositions, 2048);
  config.rms_norm_epsilon = static_cast<float>(fields.number_or("rms_norm_eps", 0.0, 1.0, 1e-6));
  config.tied_embeddings = fields.boolean_or("tie_word_embeddings", false);
  config.rope = read_rope_config(fields, where, config.max_positions);
  if (config.n_heads % config.n_kv_heads != 0) {
    fail(ErrorCode::kData, "{}: num_attention_heads {} is no multiple of num_key_value_heads {}",
         where, config.n_heads, config.n_kv_heads);
  }
  config.head_dim = fields.integer_or("head_dim", 1, kMaxHeadDim, config.d_model / config.n_heads);
  architecture.configure(fields, where, config);
  if (config.head_dim * config.n_heads != config.d_model && !fields.has("head_dim") &&
      config.d_model % config.n_heads != 0) {
    fail(ErrorCode::kData, "{}: hidden_size {} is no multiple of num_attention_heads {}", where,
         config.d_model, config.n_heads);
  }
  if (config.head_dim % 8 != 0 || config.head_dim > 256) {
    fail(ErrorCode::kUnsupported, "{}: head_dim {} is not supported; multiples of 8 up to 256 are",
         where, config.head_dim);
  }
  config.eos_ids = read_eos_ids(json, where);
  return config;
}

ModelConfig read_model_config(const std::filesystem::path& model) {
  if (is_gguf_file(model)) return read_gguf_config(GgufFile(model));
  if (std::filesystem::is_regular_file(model)) {
    fail(ErrorCode::kData, "{} is neither a Hugging Face folder nor a GGUF file; check the path",
         model.string());
  }
  const std::filesystem::path path = model / "config.json";
  ModelConfig config = parse_model_config(read_json_file(path, int64_t{16} << 20), path.string());
  const std::filesystem::path generation = model / "generation_config.json";
  if (std::filesystem::exists(generation)) {
    const nlohmann::json json = read_json_file(generation, int64_t{16} << 20);
    const JsonFields check(json, generation.string());
    const std::vector<int32_t> ids = read_eos_ids(json, generation.string());
    if (!ids.empty()) config.eos_ids = ids;
  }
  return config;
}

}  // namespace chunkllm
