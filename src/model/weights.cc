#include "model/weights.h"

#include <fmt/core.h>

#include <array>

#include "base/error.h"
#include "base/memory.h"
#include "base/sha256.h"

namespace chunkllm {
namespace {

int64_t layer_matrix_elements(const ModelConfig& c) {
  return c.d_model * (c.q_dim() + 2 * c.kv_dim()) + c.q_dim() * c.d_model + 3 * c.d_model * c.d_ff;
}

int64_t norm_elements(const ModelConfig& c) { return (2 * c.n_layers + 1) * c.d_model; }

// The tensors of one checkpoint by name, each checked for shape and type.
class TensorReader {
 public:
  explicit TensorReader(const SafetensorsFile& file) : file_(file) {}

  MatrixView matrix(const std::string& name, int64_t n_rows, int64_t n_cols) const {
    const TensorView& tensor = file_.require(name, {n_rows, n_cols});
    if (tensor.dtype != DType::kF32 && tensor.dtype != DType::kF16 &&
        tensor.dtype != DType::kBf16) {
      fail(ErrorCode::kUnsupported, "{}: tensor {} is {}; weights must be F32, F16 or BF16",
           file_.path().string(), name, dtype_name(tensor.dtype));
    }
    return {tensor.dtype, tensor.bytes.data(), n_rows, n_cols};
  }

  std::vector<float> norm(const std::string& name, int64_t n) const {
    return file_.require_floats(name, {n});
  }

 private:
  const SafetensorsFile& file_;
};

LayerWeights load_layer(const TensorReader& reader, const ModelConfig& c, ComputeType compute_type,
                        int64_t i) {
  const std::string at = fmt::format("model.layers.{}.", i);
  const std::array qkv{reader.matrix(at + "self_attn.q_proj.weight", c.q_dim(), c.d_model),
                       reader.matrix(at + "self_attn.k_proj.weight", c.kv_dim(), c.d_model),
                       reader.matrix(at + "self_attn.v_proj.weight", c.kv_dim(), c.d_model)};
  const std::array output{reader.matrix(at + "self_attn.o_proj.weight", c.d_model, c.q_dim())};
  const std::array gate_up{reader.matrix(at + "mlp.gate_proj.weight", c.d_ff, c.d_model),
                           reader.matrix(at + "mlp.up_proj.weight", c.d_ff, c.d_model)};
  const std::array down{reader.matrix(at + "mlp.down_proj.weight", c.d_model, c.d_ff)};
  return {.attention_norm = reader.norm(at + "input_layernorm.weight", c.d_model),
          .qkv = Linear(qkv, compute_type),
          .output = Linear(output, compute_type),
          .ffn_norm = reader.norm(at + "post_attention_layernorm.weight", c.d_model),
          .gate_up = Linear(gate_up, compute_type),
          .down = Linear(down, compute_type)};
}

void refuse_biases(const SafetensorsFile& file) {
  for (const auto& [name, tensor] : file.tensors()) {
    if (name.ends_with(".bias")) {
      fail(ErrorCode::kUnsupported, "{}: has the bias {}; models with biases are not supported",
           file.path().string(), name);
    }
  }
}

}  // namespace

int64_t packed_weights_bytes(const ModelConfig& c, ComputeType compute_type) {
  const int64_t element_bytes = compute_type == ComputeType::kBf16 ? 2 : 4;
  return (c.n_layers * layer_matrix_elements(c) + c.n_vocab * c.d_model) * element_bytes +
         norm_elements(c) * 4;
}

ModelWeights load_weights(const std::filesystem::path& folder, ComputeType compute_type) {
  ModelConfig config = read_model_config(folder);
  const std::filesystem::path path = folder / "model.safetensors";
  if (!std::filesystem::exists(path) &&
      std::filesystem::exists(folder / "model.safetensors.index.json")) {
    fail(ErrorCode::kUnsupported,
         "{}: the checkpoint is in several files; merge it into one model.safetensors",
         folder.string());
  }
  ModelWeights weights{.config = std::move(config),
                       .compute_type = compute_type,
                       .file = SafetensorsFile(path),
                       .embedding = {},
                       .layers = {},
                       .final_norm = {},
                       .lm_head = {}};
  const ModelConfig& c = weights.config;
  require_memory(packed_weights_bytes(c, compute_type), "the weights of " + folder.string(),
                 compute_type == ComputeType::kF32 ? "try --dtype bf16 or a smaller model"
                                                   : "use a smaller model");
  refuse_biases(weights.file);
  const TensorReader reader(weights.file);
  weights.embedding = reader.matrix("model.embed_tokens.weight", c.n_vocab, c.d_model);
  weights.final_norm = reader.norm("model.norm.weight", c.d_model);
  const std::array head{c.tied_embeddings ? weights.embedding
                                          : reader.matrix("lm_head.weight", c.n_vocab, c.d_model)};
  for (int64_t i = 0; i < c.n_layers; ++i) {
    weights.layers.push_back(load_layer(reader, c, compute_type, i));
  }
  weights.lm_head = Linear(head, compute_type);
  return weights;
}

int64_t ModelWeights::packed_bytes() const {
  int64_t n_bytes = lm_head.size_bytes() + norm_elements(config) * 4;
  for (const LayerWeights& layer : layers) {
    n_bytes += layer.qkv.size_bytes() + layer.output.size_bytes() + layer.gate_up.size_bytes() +
               layer.down.size_bytes();
  }
  return n_bytes;
}

int64_t ModelWeights::n_parameters() const {
  return config.n_layers * layer_matrix_elements(config) + norm_elements(config) +
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
    hash.update(std::as_bytes(std::span(layer.ffn_norm)));
  }
  hash.update(std::as_bytes(std::span(final_norm)));
  return hash.hex_digest();
}

}  // namespace chunkllm
