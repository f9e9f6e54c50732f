#include "model/weights.h"

#include <fmt/core.h>

#include <algorithm>
#include <map>
#include <span>

#include "base/error.h"
#include "base/json.h"
#include "base/memory.h"
#include "base/sha256.h"
#include "model/architecture.h"

namespace chunkllm {
namespace {

constexpr const char* kEmbedding = "model.embed_tokens.weight";
constexpr const char* kFinalNorm = "model.norm.weight";

int64_t layer_matrix_elements(const ModelConfig& c) {
  return c.d_model * (c.q_dim() + 2 * c.kv_dim()) + c.q_dim() * c.d_model + 3 * c.d_model * c.d_ff;
}

// Biases that the configuration announces, a layer.
int64_t layer_bias_elements(const ModelConfig& c) {
  return (c.qkv_bias ? c.q_dim() + 2 * c.kv_dim() : 0) + (c.output_bias ? c.d_model : 0) +
         (c.ffn_bias ? 2 * c.d_ff + c.d_model : 0);
}

int64_t small_elements(const ModelConfig& c) {
  const LayerNorms& norms = c.family->norms;
  const int64_t n_norms =
      2 + (norms.after_attention != nullptr ? 1 : 0) + (norms.after_ffn != nullptr ? 1 : 0);
  const int64_t head_norms = c.qk_norm ? 2 * c.head_dim : 0;
  return c.d_model + c.n_layers * (n_norms * c.d_model + head_norms + layer_bias_elements(c));
}

// One of the projections that are stacked into one product.
struct Part {
  const char* name;  // "self_attn.q_proj"
  int64_t n_out;
};

// Packs the products of one checkpoint.
class ProductReader {
 public:
  ProductReader(const Checkpoint& checkpoint, Precision precision, PackedMatrices* kept)
      : checkpoint_(checkpoint), precision_(precision), kept_(kept) {}

  // The stacked projections, each called `at` and its name, packed. The file's pages are given
  // back.
  Linear linear(const std::string& at, std::initializer_list<Part> parts, int64_t n_in,
                bool with_bias) const {
    std::vector<CheckpointMatrix> matrices;
    std::vector<MatrixView> views;
    std::vector<float> bias;
    for (const Part& part : parts) {
      matrices.push_back(checkpoint_.matrix(at + part.name + ".weight", part.n_out, n_in));
      views.push_back(matrices.back().view);
      if (!with_bias) continue;
      const std::vector<float> values = vector(at + part.name + ".bias", part.n_out);
      bias.insert(bias.end(), values.begin(), values.end());
    }
    Linear packed(views, precision_, std::move(bias), kept_);
    for (const Part& part : parts) checkpoint_.release(at + part.name + ".weight");
    return packed;
  }

  std::vector<float> vector(const std::string& name, int64_t n) const {
    return checkpoint_.vector(name, n);
  }

 private:
  const Checkpoint& checkpoint_;
  Precision precision_;
  PackedMatrices* kept_;
};

// Asks for the same tensors and packs nothing.
class TensorChecker {
 public:
  explicit TensorChecker(const Checkpoint& checkpoint) : checkpoint_(checkpoint) {}

  Linear linear(const std::string& at, std::initializer_list<Part> parts, int64_t n_in,
                bool with_bias) const {
    for (const Part& part : parts) {
      checkpoint_.check_matrix(at + part.name + ".weight", part.n_out, n_in);
      if (with_bias) vector(at + part.name + ".bias", part.n_out);
    }
    return {};
  }

  std::vector<float> vector(const std::string& name, int64_t n) const {
    return checkpoint_.vector(name, n);
  }

 private:
  const Checkpoint& checkpoint_;
};

// Reads norms, and no products.
class NormReader {
 public:
  explicit NormReader(const Checkpoint& checkpoint) : checkpoint_(checkpoint) {}

  Linear linear(const std::string&, std::initializer_list<Part>, int64_t, bool) const { return {}; }

  std::vector<float> vector(const std::string& name, int64_t n) const {
    return checkpoint_.vector(name, n);
  }

 private:
  const Checkpoint& checkpoint_;
};

template <typename Reader>
LayerWeights load_layer(const Reader& reader, const ModelConfig& c, int64_t i) {
  const std::string at = fmt::format("model.layers.{}.", i);
  const auto head_norm = [&](const char* name) {
    return c.qk_norm ? reader.vector(at + name, c.head_dim) : std::vector<float>();
  };
  const LayerNorms& norms = c.family->norms;
  const auto norm = [&](const char* name) {
    return name != nullptr ? reader.vector(at + name + ".weight", c.d_model) : std::vector<float>();
  };
  return {.attention_norm = norm(norms.before_attention),
          .qkv = reader.linear(at,
                               {{"self_attn.q_proj", c.q_dim()},
                                {"self_attn.k_proj", c.kv_dim()},
                                {"self_attn.v_proj", c.kv_dim()}},
                               c.d_model, c.qkv_bias),
          .q_norm = head_norm("self_attn.q_norm.weight"),
          .k_norm = head_norm("self_attn.k_norm.weight"),
          .output = reader.linear(at, {{"self_attn.o_proj", c.d_model}}, c.q_dim(), c.output_bias),
          .post_attention_norm = norm(norms.after_attention),
          .ffn_norm = norm(norms.before_ffn),
          .gate_up = reader.linear(at, {{"mlp.gate_proj", c.d_ff}, {"mlp.up_proj", c.d_ff}},
                                   c.d_model, c.ffn_bias),
          .down = reader.linear(at, {{"mlp.down_proj", c.d_model}}, c.d_ff, c.ffn_bias),
          .post_ffn_norm = norm(norms.after_ffn)};
}

std::string hash_of_norms(const ModelConfig& c, std::span<const LayerWeights> layers,
                          const std::vector<float>& final_norm) {
  Sha256 hash;
  const std::string shape = fmt::format(
      "n_layers={} d_model={} n_heads={} n_kv_heads={} head_dim={} d_ff={} n_vocab={}\n",
      c.n_layers, c.d_model, c.n_heads, c.n_kv_heads, c.head_dim, c.d_ff, c.n_vocab);
  hash.update(std::as_bytes(std::span(shape)));
  for (const LayerWeights& layer : layers) {
    hash.update(std::as_bytes(std::span(layer.attention_norm)));
    hash.update(std::as_bytes(std::span(layer.q_norm)));
    hash.update(std::as_bytes(std::span(layer.k_norm)));
    hash.update(std::as_bytes(std::span(layer.post_attention_norm)));
    hash.update(std::as_bytes(std::span(layer.ffn_norm)));
    hash.update(std::as_bytes(std::span(layer.post_ffn_norm)));
  }
  hash.update(std::as_bytes(std::span(final_norm)));
  return hash.hex_digest();
}

// A bias that would be left out is a wrong model.
void refuse_unknown_biases(const Checkpoint& checkpoint, const ModelConfig& c) {
  for (const auto& [name, tensor] : checkpoint.tensors()) {
    if (!name.ends_with(".bias")) continue;
    const bool known =
        (c.qkv_bias && (name.ends_with("q_proj.bias") || name.ends_with("k_proj.bias") ||
                        name.ends_with("v_proj.bias"))) ||
        (c.output_bias && name.ends_with("o_proj.bias")) ||
        (c.ffn_bias && name.find(".mlp.") != std::string::npos);
    if (!known) {
      fail(ErrorCode::kUnsupported,
           "{}: has the bias {}, which its configuration does not announce; it is not supported",
           checkpoint.place(name), show_text(tensor.name));
    }
  }
}

}  // namespace

void check_tensors(const Checkpoint& checkpoint, const ModelConfig& config) {
  refuse_unknown_biases(checkpoint, config);
  const TensorChecker checker(checkpoint);
  checkpoint.check_matrix(kEmbedding, config.n_vocab, config.d_model);
  checker.vector(kFinalNorm, config.d_model);
  for (int64_t i = 0; i < config.n_layers; ++i) load_layer(checker, config, i);
  if (checkpoint.has_head() || !config.tied_embeddings) {
    checkpoint.check_matrix("lm_head.weight", config.n_vocab, config.d_model);
  }
}

int64_t packed_weights_bytes(const Checkpoint& checkpoint, const ModelConfig& c,
                             Precision precision) {
  // The head is the embedding, or stands beside it; the embedding itself stays in the file.
  const char* unpacked = checkpoint.has_head() ? kEmbedding : "";
  int64_t n_bytes = small_elements(c) * 4;
  for (const auto& [name, tensor] : checkpoint.tensors()) {
    if (tensor.shape.size() != 2 || name == unpacked) continue;
    n_bytes += packed_matrix_bytes(tensor.dtype, tensor.shape[0], tensor.shape[1], precision);
  }
  return n_bytes;
}

ModelWeights load_weights(const std::filesystem::path& model, Precision precision,
                          const PackedFolder& copies) {
  ModelConfig config = read_model_config(model);
  Checkpoint checkpoint(model, config);
  ModelWeights weights{.config = std::move(config),
                       .precision = precision,
                       .checkpoint = std::move(checkpoint),
                       .copy = {},
                       .embedding = {},
                       .layers = {},
                       .final_norm = {},
                       .lm_head = {}};
  // As transformers has it from version 5 on: a stored head is the head.
  if (weights.checkpoint.has_head()) weights.config.tied_embeddings = false;
  const ModelConfig& c = weights.config;
  require_memory(packed_weights_bytes(weights.checkpoint, c, precision),
                 "the weights of " + model.string(),
                 precision.products != ProductType::kBf16 ? "try --dtype bf16 or a smaller model"
                                                          : "use a smaller model");
  refuse_unknown_biases(weights.checkpoint, c);
  if (!copies.path.empty() && is_gguf_file(model)) {
    weights.copy = std::make_unique<PackedWeights>(copies, model);
  }
  const ProductReader reader(weights.checkpoint, precision, weights.copy.get());
  weights.embedding = weights.checkpoint.matrix(kEmbedding, c.n_vocab, c.d_model).view;
  weights.final_norm = reader.vector(kFinalNorm, c.d_model);
  for (int64_t i = 0; i < c.n_layers; ++i) {
    weights.layers.push_back(load_layer(reader, c, i));
  }
  const char* head = c.tied_embeddings ? "model.embed_tokens" : "lm_head";
  weights.lm_head = reader.linear("", {{head, c.n_vocab}}, c.d_model, false);
  return weights;
}

DType ModelWeights::main_type() const {
  std::map<DType, int64_t> n_elements;
  for (const auto& [name, tensor] : checkpoint.tensors()) {
    if (tensor.shape.size() == 2) n_elements[tensor.dtype] += tensor.n_elements();
  }
  const auto most =
      std::ranges::max_element(n_elements, {}, [](const auto& e) { return e.second; });
  return most == n_elements.end() ? DType::kF32 : most->first;
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

std::string ModelWeights::fingerprint() const { return hash_of_norms(config, layers, final_norm); }

std::string checkpoint_fingerprint(const Checkpoint& checkpoint, const ModelConfig& config) {
  const NormReader reader(checkpoint);
  std::vector<LayerWeights> layers;
  for (int64_t i = 0; i < config.n_layers; ++i) layers.push_back(load_layer(reader, config, i));
  return hash_of_norms(config, layers, reader.vector(kFinalNorm, config.d_model));
}

}  // namespace chunkllm
