#include "model/config.h"

#include <cmath>
#include <limits>
#include <utility>

#include "base/error.h"
#include "base/json.h"
#include "kernels/attention/attention.h"
#include "model/architecture.h"
#include "model/config_limits.h"
#include "model/gguf_config.h"

namespace chunkllm {
namespace {

constexpr const char* kWhatModelsAre = "the folder of a Hugging Face checkpoint or a GGUF file";
constexpr int64_t kMaxTokenId = std::numeric_limits<int32_t>::max();

std::vector<int32_t> read_eos_ids(const nlohmann::json& object, const std::string& where) {
  std::vector<int32_t> ids;
  const auto found = object.find("eos_token_id");
  if (found == object.end() || found->is_null()) return ids;
  const nlohmann::json list = found->is_array() ? *found : nlohmann::json::array({*found});
  if (list.size() > kMaxEndTokens) {
    fail(ErrorCode::kData, "{}: more than {} tokens end an answer; get the file again", where,
         kMaxEndTokens);
  }
  for (const nlohmann::json& id : list) {
    if (!id.is_number_integer() || id.get<int64_t>() < 0 || id.get<int64_t>() > kMaxTokenId) {
      fail(ErrorCode::kData, "{}: eos_token_id must be a token id or a list of them", where);
    }
    ids.push_back(id.get<int32_t>());
  }
  return ids;
}

constexpr std::pair<const char*, Activation> kActivations[] = {
    {"silu", Activation::kSilu},
    {"gelu_pytorch_tanh", Activation::kGeluTanh},
};

Activation read_activation(const JsonFields& config, const char* key, const std::string& where) {
  const std::string name = config.string_or(key, "silu");
  for (const auto& [known, activation] : kActivations) {
    if (name == known) return activation;
  }
  fail(ErrorCode::kUnsupported, "{}: {} {} is not supported; silu and gelu_pytorch_tanh are", where,
       key, show_text(name));
}

// The family's fields: its defaults, and over them what the file says.
nlohmann::json own_fields(const nlohmann::json& json, const Architecture& family,
                          const std::string& where) {
  nlohmann::json fields = nlohmann::json::parse(family.defaults);
  const bool wrapped =
      family.wrapper != nullptr && json.at("model_type").get<std::string>() == family.wrapper;
  const nlohmann::json& own = wrapped ? JsonFields(json, where).at("text_config") : json;
  if (!own.is_object()) {
    fail(ErrorCode::kData, "{}: text_config must be an object, found {}", where, own.type_name());
  }
  fields.update(own);
  fields["model_type"] = family.model_type;
  if (json.contains("eos_token_id")) fields["eos_token_id"] = json.at("eos_token_id");
  return fields;
}

void read_ropes(const JsonFields& fields, const std::string& where, ModelConfig& config) {
  config.rope = read_rope_config(fields, where, config.max_positions);
  config.sliding_rope = config.rope;
  if (config.family->sliding_theta != nullptr) {
    config.sliding_rope = read_rope_config(
        fields, where, config.max_positions,
        {.theta = config.family->sliding_theta, .layer_type = "sliding_attention"});
  } else if (fields.has("rope_parameters") &&
             (fields.at("rope_parameters").contains("full_attention") ||
              fields.at("rope_parameters").contains("sliding_attention"))) {
    fail(ErrorCode::kUnsupported,
         "{}: models of this family have one rotary embedding; different ones for different layers "
         "are not supported",
         where);
  }
}

}  // namespace

float ModelConfig::attention_scale() const {
  return static_cast<float>(
      1.0 / std::sqrt(query_scalar > 0 ? query_scalar : static_cast<double>(head_dim)));
}

ModelConfig parse_model_config(const nlohmann::json& json, const std::string& where) {
  const Architecture& family =
      find_architecture(JsonFields(json, where).string("model_type"), where);
  const nlohmann::json own = own_fields(json, family, where);
  const JsonFields fields(own, where);

  ModelConfig config;
  config.model_type = family.model_type;
  config.family = &family;
  config.activation = read_activation(fields, family.activation_key, where);
  if (fields.has("quantization_config")) {
    fail(ErrorCode::kUnsupported,
         "{}: quantization_config is set; use the checkpoint in F32, F16 or BF16", where);
  }
  config.n_layers = fields.integer("num_hidden_layers", 1, kMaxLayers);
  config.d_model = fields.integer("hidden_size", 1, kMaxDimension);
  config.n_heads = fields.integer("num_attention_heads", 1, kMaxHeads);
  config.n_kv_heads = fields.integer_or("num_key_value_heads", 1, config.n_heads, config.n_heads);
  config.d_ff = fields.integer("intermediate_size", 1, kMaxDimension);
  config.n_vocab = fields.integer("vocab_size", 1, kMaxDimension);
  config.max_positions = fields.integer_or("max_position_embeddings", 1, kMaxPositions, 2048);
  config.rms_norm_epsilon = static_cast<float>(fields.number_or("rms_norm_eps", 0.0, 1.0, 1e-6));
  config.tied_embeddings = fields.boolean_or("tie_word_embeddings", false);
  read_ropes(fields, where, config);
  if (config.n_heads % config.n_kv_heads != 0) {
    fail(ErrorCode::kData, "{}: num_attention_heads {} is no multiple of num_key_value_heads {}",
         where, config.n_heads, config.n_kv_heads);
  }
  if (!fields.has("head_dim") && config.d_model % config.n_heads != 0) {
    fail(ErrorCode::kData, "{}: hidden_size {} is no multiple of num_attention_heads {}", where,
         config.d_model, config.n_heads);
  }
  config.head_dim =
      fields.integer_or("head_dim", 1, kMaxDimension, config.d_model / config.n_heads);
  if (config.head_dim % 8 != 0 || config.head_dim > kMaxHeadDim) {
    fail(ErrorCode::kUnsupported, "{}: head_dim {} is not supported; multiples of 8 up to {} are",
         where, config.head_dim, kMaxHeadDim);
  }
  family.configure(fields, where, config);
  config.eos_ids = read_eos_ids(own, where);
  return config;
}

ModelConfig read_model_config(const std::filesystem::path& model) {
  if (is_gguf_file(model)) return read_gguf_config(GgufFile(model));
  std::error_code error;
  const std::filesystem::path path = model / "config.json";
  const auto status = std::filesystem::status(model, error);
  if (!std::filesystem::exists(status) && status.type() != std::filesystem::file_type::unknown) {
    fail(ErrorCode::kIo, "{}: No such file or folder; give {}", model.string(), kWhatModelsAre);
  }
  if (std::filesystem::exists(status) && !std::filesystem::is_directory(status)) {
    fail(ErrorCode::kData, "{} is {}; give {}", model.string(),
         std::filesystem::is_regular_file(status) ? "no GGUF file"
                                                  : "neither a folder nor a regular file",
         kWhatModelsAre);
  }
  if (std::filesystem::is_directory(status) && !std::filesystem::exists(path, error) && !error) {
    const bool is_adapter = std::filesystem::exists(model / "adapter_config.json", error);
    fail(ErrorCode::kIo, "{} is {} folder (it has no config.json); give {}", model.string(),
         is_adapter ? "an adapter's" : "no model's", kWhatModelsAre);
  }
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
