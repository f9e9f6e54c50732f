// Random queries and keys in place of a model: what a policy is asked does not depend on what it
// answered, so that two runs must agree bit for bit.
#pragma once

#include <cstdint>
#include <span>
#include <string_view>
#include <vector>

#include "base/random.h"
#include "model/kv_cache.h"
#include "select/policy.h"
#include "select/rows_of.h"

namespace chunkllm::test {

struct ToyModel {
  ModelConfig config;
  KvCache cache;
  std::vector<std::vector<float>> queries;  // [n_layers] of [n_tokens, n_heads, head_dim]

  static ModelConfig toy_config() {
    ModelConfig config;
    config.n_layers = 3;
    config.n_heads = 4;
    config.n_kv_heads = 2;
    config.head_dim = 32;
    return config;
  }

  explicit ToyModel(int64_t n_tokens, KvType type = KvType::kF32)
      : config(toy_config()), cache(config, n_tokens, type) {
    Rng rng(3);
    const auto random = [&](int64_t n) {
      std::vector<float> values(static_cast<size_t>(n));
      for (float& value : values) value = static_cast<float>(rng.normal());
      return values;
    };
    for (int64_t layer = 0; layer < config.n_layers; ++layer) {
      const std::vector<float> keys = random(n_tokens * config.kv_dim());
      cache.store(layer, 0, n_tokens, keys.data(), keys.data(), config.kv_dim());
      queries.push_back(random(n_tokens * config.q_dim()));
    }
  }

  LayerInput input(int64_t layer, Range positions) const {
    LayerInput input;
    input.layer = layer;
    input.positions = positions;
    input.q = queries[static_cast<size_t>(layer)].data() + positions.begin * config.q_dim();
    input.q_stride = config.q_dim();
    input.n_heads = config.n_heads;
    input.scale = config.attention_scale();
    input.kv = cache.layer(layer);
    return input;
  }
};

// How each token came in: 'p' in a prompt, 'e' as its end, 'g' generated.
using Roles = std::string_view;
// [n_layers, n_tokens] the rows that a token attends to.
using LayerRows = std::vector<std::vector<std::vector<int64_t>>>;

// Announces the tokens at `positions` as a session does.
inline void announce(SelectionPolicy& policy, Roles roles, Range positions) {
  for (int64_t begin = positions.begin; begin < positions.end;) {
    int64_t end = begin;
    std::vector<int64_t> prompt_ends;
    for (; end < positions.end && roles[static_cast<size_t>(end)] != 'g'; ++end) {
      if (roles[static_cast<size_t>(end)] == 'e') prompt_ends.push_back(end);
    }
    if (end > begin) policy.add_prompt({begin, end}, prompt_ends);
    begin = std::max(end, begin + 1);
  }
}

// Feeds the tokens from `begin` on, `piece` at a time, in blocks of at most `max_tokens`, and
// enters what they attend to into `rows`.
inline void feed(SelectionPolicy& policy, const ToyModel& toy, std::span<const int32_t> tokens,
                 Roles roles, int64_t begin, int64_t piece, int64_t max_tokens, LayerRows& rows) {
  rows.resize(static_cast<size_t>(toy.config.n_layers));
  for (auto& layer : rows) layer.resize(tokens.size());
  const int64_t n = std::ssize(tokens);
  for (int64_t known = begin; known < n; known = std::min(n, known + piece)) {
    const int64_t end = std::min(n, known + piece);
    announce(policy, roles, {known, end});
    while (true) {
      const auto known_tokens = tokens.first(static_cast<size_t>(end));
      const Range block = policy.next_block(known_tokens, max_tokens);
      if (block.empty()) break;
      policy.begin_block(block, known_tokens.subspan(static_cast<size_t>(block.begin),
                                                     static_cast<size_t>(block.size())));
      for (int64_t layer = 0; layer < toy.config.n_layers; ++layer) {
        auto of_block = rows_of(policy.rows(toy.input(layer, block)), block);
        for (int64_t t = block.begin; t < block.end; ++t) {
          rows[static_cast<size_t>(layer)][static_cast<size_t>(t)] =
              std::move(of_block[static_cast<size_t>(t - block.begin)]);
        }
      }
    }
  }
}

}  // namespace chunkllm::test
