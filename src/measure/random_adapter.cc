#include "measure/random_adapter.h"

#include <cmath>

#include "select/chunk/chunk_policy.h"

namespace chunkllm {
namespace {

std::vector<float> random_values(int64_t n, double scale, Rng& rng) {
  std::vector<float> values(static_cast<size_t>(n));
  for (float& value : values) value = static_cast<float>(scale * rng.normal());
  return values;
}

}  // namespace

Adapter make_random_adapter(const ModelWeights& weights, int64_t chunk_tokens, Rng& rng) {
  Adapter adapter;
  adapter.config = AdapterConfig::for_model(weights);
  adapter.config.fixed_chunk = chunk_tokens;
  const AdapterConfig& config = adapter.config;
  const double scale = 1.0 / std::sqrt(static_cast<double>(config.d_model));
  adapter.boundary_weight = random_values(config.d_model, scale, rng);
  for (int64_t i = 0; i < config.n_layers; ++i) {
    const int64_t n = config.selects(i) ? config.q_dim() * config.d_model : 0;
    QkAdapter layer;
    layer.q = random_values(n, scale, rng);
    layer.k = random_values(n, scale, rng);
    adapter.layers.push_back(std::move(layer));
  }
  return adapter;
}

PolicyState make_random_state(const AdapterConfig& config, int64_t n_tokens, int64_t chunk_tokens,
                              Rng& rng) {
  PolicyState state;
  state.positions[kChunkEnds] = {};
  for (int64_t end = chunk_tokens; end <= n_tokens; end += chunk_tokens) {
    state.positions[kChunkEnds].push_back(end);
  }
  for (int64_t i = 0; i < config.n_layers; ++i) {
    if (!config.selects(i)) continue;
    const bool is_grid = i == 0 && config.first_layer == FirstLayerKind::kGrid;
    const int64_t step = is_grid ? config.first_layer_tokens : chunk_tokens;
    const int64_t n_chunks = n_tokens / step;
    const int64_t n_refreshes = n_chunks + (n_tokens % step == 0 ? 0 : 1);  // and the prompt end
    const auto layer = static_cast<size_t>(i);
    state.floats[chunk_keys_name(layer)] = random_values(n_chunks * config.q_dim(), 1.0, rng);
    state.floats[refresh_queries_name(layer)] =
        random_values(n_refreshes * config.q_dim(), 1.0, rng);
  }
  return state;
}

}  // namespace chunkllm
