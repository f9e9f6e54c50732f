#include "measure/synthetic_context.h"

#include <algorithm>
#include <vector>

#include "base/error.h"
#include "measure/random_adapter.h"

namespace chunkllm {
namespace {

// The same random rows again and again: making new ones would take longer than the measurement.
void store_noise(const ModelConfig& config, int64_t n_tokens, Rng& rng, KvCache& cache) {
  constexpr int64_t kRows = 256;
  std::vector<float> rows(static_cast<size_t>(2 * kRows * config.kv_dim()));
  for (float& value : rows) value = static_cast<float>(rng.normal());
  const float* keys = rows.data();
  const float* values = keys + kRows * config.kv_dim();
  for (int64_t layer = 0; layer < config.n_layers; ++layer) {
    for (int64_t begin = 0; begin < n_tokens; begin += kRows) {
      cache.store(layer, begin, std::min(kRows, n_tokens - begin), keys, values, config.kv_dim());
    }
  }
}

// Any token that is not special: special ones would end chunks of their own.
int32_t plain_token(const Engine& engine) {
  const std::vector<int32_t> special = engine.special_ids();
  int32_t token = 0;
  while (std::ranges::binary_search(special, token)) ++token;
  return token;
}

}  // namespace

void fill_with_noise(Session& session, int64_t n_tokens, uint64_t seed) {
  const SessionOptions& options = session.options();
  // A prompt has the same refreshes under both.
  const RefreshKind refresh = options.selection.refresh;
  if (options.policy->needs_adapter() && refresh != RefreshKind::kAnswer &&
      refresh != RefreshKind::kPromptEnd) {
    fail(ErrorCode::kInvalidArgument,
         "a made-up context has its refreshes at prompt ends and boundaries; leave out "
         "--refresh, or give answer or prompt-end");
  }
  Rng rng(seed);
  const Engine& engine = session.engine();
  const std::vector<int32_t> tokens(static_cast<size_t>(n_tokens), plain_token(engine));
  const int64_t end = n_tokens - 1;
  const auto origins = Session::origins_of(n_tokens, {&end, 1}, {});
  PolicyState state;
  if (const Adapter* adapter = adapter_for(*options.policy, engine.adapters())) {
    const int64_t fixed = adapter->config.fixed_chunk;
    state =
        make_random_state(adapter->config, n_tokens, fixed > 0 ? fixed : kMeanSentenceTokens, rng);
  }
  session.restore(tokens, origins, state, n_tokens,
                  [&](KvCache& cache, int64_t n) { store_noise(engine.config(), n, rng, cache); });
  session.run_waiting();
}

}  // namespace chunkllm
