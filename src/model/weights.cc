#include "model/weights.h"

#include <fmt/core.h>

#include <array>

#include "base/error.h"
#include "base/memory.h"
#include "base/sha256.h"

namespace chunkllm {
namespace {

constexpr const char* kEmbedding = "model.embed_tokens.weight";
constexpr const char* kHead = "lm_head.weight";

int64_t layer_matrix_elements(const ModelConfig& c) {
  return c.d_model * (c.q_dim() + 2 * c.kv_dim()) + c.q_dim() * c.d_model + 3 * c.d_model * c.d_ff;
}

// Biases that the configuration announces, a layer.
int64_t layer_bias_elements(const ModelConfig& c) {
  return (c.qkv_bias ? c.q_dim() + 2 * c.kv_dim() : 0) + (c.output_bias ? c.d_model : 0) +
         (c.ffn_bias ? 2 * c.d_ff + c.d_model : 0);
}

int64_t small_elements(const ModelConfig& c) {
  const int64_t head_norms = c.qk_norm ? 2 * c.head_dim : 0;
  return (2 * c.n_layers + 1) * c.d_model + c.n_layers * (head_norms + layer_bias_elements(c));
}

// The tensors of one checkpoint by name, each checked for shape and type.
class TensorReader {
 public:
  explicit TensorReader(const SafetensorsModel& file) : file_(file) {}

  MatrixView matrix(const std::string& name, int64_t n_rows, int64_t n_cols) const {
    const TensorView& tensor = file_.require(name, {n_rows, n_cols});
    if (tensor.dtype != DType::kF32 && tensor.dtype != DType::kF16 &&
        tensor.dtype != DType::kBf16) {
      fail(ErrorCode::kUnsupported, "{}: tensor {} is {}; weights must be F32, F16 or BF16",
           file_.place(name), name, dtype_name(tensor.dtype));
    }
    return {tensor.dtype, tensor.bytes.data(), n_rows, n_cols};
  }

  std::vector<float> vector(const std::string& name, int64_t n) const {
    return file_.require_floats(name, {n});
  }

  // One of the projections that are stacked into one product.
  struct Part {
    const char* name;  // "self_attn.q_proj"
    int64_t n_out;
  };
  // The stacked projections of layer `at`, packed. The file's pages are given back.
  Linear linear(const std::string& at, std::initializer_list<Part> parts, int64_t n_in,
                bool with_bias, ComputeType compute_type) const {
    std::vector<MatrixView> matrices;
    std::vector<float> bias;
    for (const Part& part : parts) {
      matrices.push_back(matrix(at + part.name + ".weight", part.n_out, n_in));
      if (!with_bias) continue;
      const std::vector<float> values = vector(at + part.name + ".bias", part.n_out);
      bias.insert(bias.end(), values.begin(), values.end());
    }
    Linear packed(matrices, compute_type, std::move(bias));
    for (const Part& part : parts) file_.release(*file_.find(at + part.name + ".weight"));
    return packed;
  }

 private:
  const SafetensorsModel& file_;
};

LayerWeights load_layer(const TensorReader& reader, const ModelConfig& c, ComputeType type,
                        int64_t i) {
  const std::string at = fmt::format("model.layers.{}.", i);
  const auto head_norm = [&](const char* name) {
    return c.qk_norm ? reader.vector(at + name, c.head_dim) : std::vector<float>();
  };
  return {.attention_norm = reader.vector(at + "input_layernorm.weight", c.d_model),
          .qkv = reader.linear(at,
                               {{"self_attn.q_proj", c.q_dim()},
                                {"self_attn.k_proj", c.kv_dim()},
                                {"self_attn.v_proj", c.kv_dim()}},
                               c.d_model, c.qkv_bias, type),
          .q_norm = head_norm("self_attn.q_norm.weight"),
          .k_norm = head_norm("self_attn.k_norm.weight"),
          .output =
              reader.linear(at, {{"self_attn.o_proj", c.d_model}}, c.q_dim(), c.output_bias, type),
          .ffn_norm = reader.vector(at + "post_attention_layernorm.weight", c.d_model),
          .gate_up = reader.linear(at, {{"mlp.gate_proj", c.d_ff}, {"mlp.up_proj", c.d_ff}},
                                   c.d_model, c.ffn_bias, type),
          .down = reader.linear(at, {{"mlp.down_proj", c.d_model}}, c.d_ff, c.ffn_bias, type)};
}

// A bias that would be left out is a wrong model.
void refuse_unknown_biases(const SafetensorsModel& file, const ModelConfig& c) {
  for (const auto& [name, tensor] : file.tensors()) {
    if (!name.ends_with(".bias")) continue;
    const bool known =
        (c.qkv_bias && (name.ends_with("q_proj.bias") || name.ends_with("k_proj.bias") ||
                        name.ends_with("v_proj.bias"))) ||
        (c.output_bias && name.ends_with("o_proj.bias")) ||
        (c.ffn_bias && name.find(".mlp.") != std::string::npos);
    if (!known) {
      fail(ErrorCode::kUnsupported,
           "{}: has the bias {}, which config.json does not announce; it is not supported",
           file.place(name), name);
    }
  }
}

}  // namespace

int64_t packed_weights_bytes(const ModelConfig& c, ComputeType compute_type) {
  const int64_t element_bytes = compute_type == ComputeType::kBf16 ? 2 : 4;
  return (c.n_layers * layer_matrix_elements(c) + c.n_vocab * c.d_model) * element_bytes +
         small_elements(c) * 4;
}

ModelWeights load_weights(const std::filesystem::path& folder, ComputeType compute_type) {
  ModelConfig config = read_model_config(folder);
  ModelWeights weights{.config = std::move(config),
                       .compute_type = compute_type,
                       .file = SafetensorsModel(folder),
                       .embedding = {},
                       .layers = {},
                       .final_norm = {},
                       .lm_head = {}};
  const ModelConfig& c = weights.config;
  require_memory(packed_weights_bytes(c, compute_type), "the weights of " + folder.string(),
                 compute_type == ComputeType::kF32 ? "try --dtype bf16 or a smaller model"
                                                   : "use a smaller model");
  refuse_unknown_biases(weights.file, c);
  const TensorReader reader(weights.file);
  weights.embedding = reader.matrix(kEmbedding, c.n_vocab, c.d_model);
  weights.final_norm = reader.vector("model.norm.weight", c.d_model);
  const std::array head{c.tied_embeddings ? weights.embedding
                                          : reader.matrix(kHead, c.n_vocab, c.d_model)};
  for (int64_t i = 0; i < c.n_layers; ++i) {
    weights.layers.push_back(load_layer(reader, c, compute_type, i));
  }
  weights.lm_head = Linear(head, compute_type);
  weights.file.release(*weights.file.find(c.tied_embeddings ? kEmbedding : kHead));
  return weights;
}

int64_t ModelWeights::packed_bytes() const {
  const int64_t norms = small_elements(config) - config.n_layers * layer_bias_elements(config);
  int64_t n_bytes = lm_head.size_bytes() + norms * 4;
  for (const LayerWeights& layer : layers) {
    n_bytes += layer.qkv.size_bytes() + layer.output.size_bytes() + layer.gate_up.size_bytes() +
               layer.down.size_bytes();
  }
  return n_bytes;
}

int64_t ModelWeights::n_parameters() const {
  return config.n_layers * layer_matrix_elements(config) + small_elements(config) +
         (config.tied_embeddings ? 1 : 2) * config.n_vocab * config.d_model;
}

std::string ModelWeights::fingerprint() const {
  const ModelConfig& c = config;
  Sha256 hash;
  const std::string shape = fmt::format(
      "n_layers={} d_model={} n_heads={} n_kv_heads={} head_dim={} d_ff={} n_vocab={}\n",
      c.n_layers, c.d_model, c.n_heads, c.n_kv_heads, c.head_dim, c.d_ff, c.n_vocab);
  hash.update(std::as_bytes(std::span(shape)));
  for (const LayerWeights& layer : layers) {
    hash.update(std::as_bytes(std::span(layer.attention_norm)));
    hash.update(std::as_bytes(std::span(layer.q_norm)));
    hash.update(std::as_bytes(std::span(layer.k_norm)));
    hash.update(std::as_bytes(std::span(layer.ffn_norm)));
  }
  hash.update(std::as_bytes(std::span(final_norm)));
  return hash.hex_digest();
}

}  // namespace chunkllm
