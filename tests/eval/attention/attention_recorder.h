// Attention written out row by row in double precision, for comparisons.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "engine/backbone.h"
#include "eval/task.h"
#include "select/keys/key_rows.h"

namespace chunkllm::test {

// One dense pass of a short text in one block; keeps the inputs, queries and keys of all layers.
class AttentionRecorder : public FullRows {
 public:
  AttentionRecorder(const ModelWeights& weights, const std::vector<int32_t>& ids)
      : config_(weights.config), n_tokens_(static_cast<int64_t>(ids.size())) {
    Backbone backbone(weights, n_tokens_, n_tokens_, KvType::kF32);
    backbone.run(ids, config_.n_layers, *this, nullptr);
  }

  void attention_done(const LayerInput& input, const float*) override {
    Layer layer;
    layer.scale = double{input.scale};
    layer.x.assign(input.x, input.x + n_tokens_ * config_.d_model);
    for (int64_t t = 0; t < n_tokens_; ++t) {
      const float* q = input.q + t * input.q_stride;
      layer.q.insert(layer.q.end(), q, q + config_.q_dim());
    }
    layer.k.resize(static_cast<size_t>(config_.kv_dim() * n_tokens_));
    for (int64_t head = 0; head < config_.n_kv_heads; ++head) {
      for (int64_t t = 0; t < n_tokens_; ++t) {
        read_key(input.kv, head, t, layer.k.data() + (head * n_tokens_ + t) * config_.head_dim);
      }
    }
    layers_.push_back(std::move(layer));
  }

  const float* x(int64_t layer, int64_t t) const {
    return layers_[static_cast<size_t>(layer)].x.data() + t * config_.d_model;
  }
  const float* q(int64_t layer, int64_t t, int64_t head) const {
    return layers_[static_cast<size_t>(layer)].q.data() + t * config_.q_dim() +
           head * config_.head_dim;
  }
  const float* k(int64_t layer, int64_t t, int64_t kv_head) const {
    return layers_[static_cast<size_t>(layer)].k.data() +
           (kv_head * n_tokens_ + t) * config_.head_dim;
  }
  double scale(int64_t layer) const { return layers_[static_cast<size_t>(layer)].scale; }
  int64_t kv_head_of(int64_t head) const { return head / (config_.n_heads / config_.n_kv_heads); }
  const ModelConfig& config() const { return config_; }

  // The probabilities of the token at `t`, mean over heads: [t + 1].
  std::vector<double> attention(int64_t layer, int64_t t) const {
    std::vector<double> mean(static_cast<size_t>(t + 1), 0.0);
    for (int64_t head = 0; head < config_.n_heads; ++head) {
      std::vector<double> e;
      double greatest = -1e300;
      for (int64_t r = 0; r <= t; ++r) {
        double score = 0;
        for (int64_t i = 0; i < config_.head_dim; ++i) {
          score += double{q(layer, t, head)[i]} * double{k(layer, r, kv_head_of(head))[i]};
        }
        e.push_back(score * scale(layer));
        greatest = std::max(greatest, e.back());
      }
      double sum = 0;
      for (double& value : e) sum += value = std::exp(value - greatest);
      for (size_t r = 0; r < e.size(); ++r) {
        mean[r] += e[r] / sum / static_cast<double>(config_.n_heads);
      }
    }
    return mean;
  }

 private:
  struct Layer {
    double scale = 1;
    std::vector<float> x, q, k;
  };
  const ModelConfig& config_;
  int64_t n_tokens_;
  std::vector<Layer> layers_;
};

// The greatest difference between two lists of numbers by layer; infinite if one has a number where
// the other has none, or that is none, or if they are not as long.
inline double layer_difference(const LayerValues& values, const LayerValues& expected) {
  if (values.size() != expected.size()) return INFINITY;
  double greatest = 0;
  for (size_t i = 0; i < values.size(); ++i) {
    if (values[i].has_value() != expected[i].has_value()) return INFINITY;
    if (!values[i]) continue;
    const double difference = std::abs(*values[i] - *expected[i]);
    if (!(difference <= greatest)) greatest = std::isnan(difference) ? INFINITY : difference;
  }
  return greatest;
}

}  // namespace chunkllm::test
