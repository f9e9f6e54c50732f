#include "train/own_projections.h"

#include <algorithm>
#include <vector>

#include "base/range.h"

namespace chunkllm {
namespace {

// Queries and keys of a layer as matrices, without biases.
struct Projections {
  std::vector<float> q;  // [q_dim, d_model]
  std::vector<float> k;  // [kv_dim, d_model]
};

// The images of unit vectors are a matrix's columns, and that of zero is the bias.
Projections read_projections(const ModelConfig& config, const LayerWeights& layer) {
  constexpr int64_t kColumns = 128;  // at a time
  const int64_t d_model = config.d_model;
  const int64_t q_dim = config.q_dim();
  const int64_t n_out = q_dim + 2 * config.kv_dim();
  Projections own{std::vector<float>(static_cast<size_t>(q_dim * d_model)),
                  std::vector<float>(static_cast<size_t>(config.kv_dim() * d_model))};
  std::vector<float> inputs(static_cast<size_t>((kColumns + 1) * d_model));
  std::vector<float> outputs(static_cast<size_t>((kColumns + 1) * n_out));
  for (int64_t first = 0; first < d_model; first += kColumns) {
    const int64_t n = std::min(kColumns, d_model - first);
    std::ranges::fill(inputs, 0.0f);
    for (int64_t i = 0; i < n; ++i) inputs[static_cast<size_t>(i * d_model + first + i)] = 1.0f;
    layer.qkv(inputs.data(), n + 1, outputs.data());
    const float* bias = outputs.data() + n * n_out;
    for (int64_t row = 0; row < q_dim + config.kv_dim(); ++row) {
      const bool is_q = row < q_dim;
      const std::vector<float>& norm = is_q ? layer.q_norm : layer.k_norm;
      const float factor = norm.empty() ? 1.0f : norm[static_cast<size_t>(row % config.head_dim)];
      float* to = (is_q ? own.q.data() + row * d_model : own.k.data() + (row - q_dim) * d_model);
      for (int64_t i = 0; i < n; ++i)
        to[first + i] = factor * (outputs[i * n_out + row] - bias[row]);
    }
  }
  return own;
}

}  // namespace

QkAdapter own_projections(const ModelWeights& weights, int64_t layer, int64_t selection_heads,
                          int64_t adapter_dim) {
  const ModelConfig& config = weights.config;
  const Projections own = read_projections(config, weights.layers[static_cast<size_t>(layer)]);
  const auto d_model = static_cast<size_t>(config.d_model);
  const auto n = static_cast<size_t>(selection_heads * adapter_dim) * d_model;
  QkAdapter adapter{std::vector<float>(n, 0.0f), std::vector<float>(n, 0.0f)};
  const int64_t half = config.head_dim / 2;
  const int64_t group = config.n_heads / config.n_kv_heads;
  for (int64_t h = 0; h < selection_heads; ++h) {
    const Range heads{h * config.n_heads / selection_heads,
                      (h + 1) * config.n_heads / selection_heads};
    if (heads.empty()) continue;
    const Range kv_heads{heads.begin / group, (heads.end - 1) / group + 1};
    const int64_t n_pairs = std::min(adapter_dim / kv_heads.size() / 2, half);
    float* q = adapter.q.data() + h * adapter_dim * config.d_model;
    float* k = adapter.k.data() + h * adapter_dim * config.d_model;
    for (int64_t kv_head = kv_heads.begin; kv_head < kv_heads.end; ++kv_head) {
      const Range of_group{std::max(heads.begin, kv_head * group),
                           std::min(heads.end, (kv_head + 1) * group)};
      const float share = 1.0f / static_cast<float>(of_group.size());
      // Feature i of a head turns with feature i + half, the more slowly the greater i.
      for (int64_t i = half - n_pairs; i < half; ++i) {
        for (const int64_t feature : {i, i + half}) {
          std::copy_n(own.k.begin() + (kv_head * config.head_dim + feature) * config.d_model,
                      d_model, k);
          for (int64_t head = of_group.begin; head < of_group.end; ++head) {
            const float* row = own.q.data() + (head * config.head_dim + feature) * config.d_model;
            for (size_t j = 0; j < d_model; ++j) q[j] += share * row[j];
          }
          q += d_model;
          k += d_model;
        }
      }
    }
  }
  return adapter;
}

}  // namespace chunkllm
