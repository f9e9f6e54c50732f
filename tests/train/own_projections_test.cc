#include "train/own_projections.h"

#include <gtest/gtest.h>

#include <numeric>
#include <vector>

#include "base/random.h"
#include "testing/models.h"

namespace chunkllm {
namespace {

std::vector<double> product(const std::vector<float>& matrix, const float* x, int64_t n) {
  std::vector<double> out(matrix.size() / static_cast<size_t>(n));
  for (size_t row = 0; row < out.size(); ++row) {
    const float* w = matrix.data() + row * static_cast<size_t>(n);
    out[row] = std::inner_product(x, x + n, w, 0.0);
  }
  return out;
}

// With room for all features the score is the model's own, without rotation and biases.
TEST(OwnProjections, ScoreAsTheLayersOwnHeadsDo) {
  for (const auto& model : {tiny_llama(), tiny_gemma3()}) {
    const ModelWeights weights = load_weights(model, kF32Precision);
    const ModelConfig& config = weights.config;
    const int64_t d_model = config.d_model;
    const int64_t layer = config.n_layers - 1;
    const LayerWeights& w = weights.layers[static_cast<size_t>(layer)];
    Rng rng(3);
    std::vector<float> x(static_cast<size_t>(3 * d_model), 0.0f);  // the last row stays zero
    for (int64_t i = 0; i < 2 * d_model; ++i)
      x[static_cast<size_t>(i)] = static_cast<float>(rng.normal());
    const int64_t n_out = config.q_dim() + 2 * config.kv_dim();
    std::vector<float> qkv(static_cast<size_t>(3 * n_out));
    w.qkv(x.data(), 3, qkv.data());

    double expected = 0;
    const int64_t group = config.n_heads / config.n_kv_heads;
    for (int64_t head = 0; head < config.n_heads; ++head) {
      for (int64_t i = 0; i < config.head_dim; ++i) {
        const int64_t q = head * config.head_dim + i;
        const int64_t k = config.q_dim() + head / group * config.head_dim + i;
        const auto at = [&](int64_t row, int64_t column) {
          return double{qkv[static_cast<size_t>(row * n_out + column)]};
        };
        const auto norm = [i](const std::vector<float>& norms) {
          return norms.empty() ? 1.0 : double{norms[static_cast<size_t>(i)]};
        };
        expected += norm(w.q_norm) * (at(0, q) - at(2, q)) * norm(w.k_norm) *
                    (at(1, k) - at(2, k)) / static_cast<double>(group);
      }
    }
    const QkAdapter own = own_projections(weights, layer, 1, config.kv_dim());
    const std::vector<double> q = product(own.q, x.data(), d_model);
    const std::vector<double> k = product(own.k, x.data() + d_model, d_model);
    ASSERT_EQ(q.size(), static_cast<size_t>(config.kv_dim()));
    EXPECT_NEAR(std::inner_product(q.begin(), q.end(), k.begin(), 0.0), expected,
                1e-4 * (1 + std::abs(expected)));
  }
}

// As many selection heads as KV heads share the rows of one among them.
TEST(OwnProjections, SelectionHeadsShareTheQueryHeads) {
  const ModelWeights weights = load_weights(tiny_llama(), kF32Precision);
  const ModelConfig& config = weights.config;
  ASSERT_GT(config.n_kv_heads, 1);
  const QkAdapter one = own_projections(weights, 1, 1, config.kv_dim());
  const QkAdapter several = own_projections(weights, 1, config.n_kv_heads, config.head_dim);
  EXPECT_EQ(several.q, one.q);
  EXPECT_EQ(several.k, one.k);
  // One for each query head: the keys of its KV head.
  const QkAdapter each = own_projections(weights, 1, config.n_heads, config.head_dim);
  const auto of_head = static_cast<std::ptrdiff_t>(config.head_dim * config.d_model);
  const int64_t group = config.n_heads / config.n_kv_heads;
  for (int64_t head = 0; head < config.n_heads; ++head) {
    EXPECT_TRUE(std::equal(each.k.begin() + head * of_head, each.k.begin() + (head + 1) * of_head,
                           one.k.begin() + head / group * of_head))
        << head;
  }
  // More heads than query heads leave some empty.
  const QkAdapter more = own_projections(weights, 1, 2 * config.n_heads, config.head_dim);
  EXPECT_EQ(std::ranges::count_if(more.k, [](float v) { return v != 0; }),
            std::ranges::count_if(each.k, [](float v) { return v != 0; }));
}

TEST(OwnProjections, RowsThatNoHeadFillsAreZero) {
  const ModelWeights weights = load_weights(tiny_llama(), kF32Precision);
  const int64_t dim = weights.config.kv_dim() + 5;
  const QkAdapter own = own_projections(weights, 1, 1, dim);
  ASSERT_EQ(own.k.size(), static_cast<size_t>(dim * weights.config.d_model));
  for (auto it = own.k.end() - 5 * weights.config.d_model; it != own.k.end(); ++it) {
    ASSERT_EQ(*it, 0.0f);
  }
  EXPECT_NE(own.k.front(), 0.0f);
}

}  // namespace
}  // namespace chunkllm
