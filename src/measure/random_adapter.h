// Adapters and chunk indices made of random numbers: what a speed test needs where nothing has been
// trained. Times do not depend on which chunks are chosen.
#pragma once

#include <cstdint>

#include "base/random.h"
#include "select/chunk/adapter.h"
#include "select/policy.h"

namespace chunkllm {

// Tokens of the mean English sentence: where random adapters end their chunks.
inline constexpr int64_t kMeanSentenceTokens = 24;

// An adapter of the default shape for the model that ends a chunk every `chunk_tokens` tokens and
// scores chunks by random projections.
Adapter make_random_adapter(const ModelWeights& weights, int64_t chunk_tokens, Rng& rng);

// The state of `chunk` after `n_tokens` prompt tokens, none of them special and the last a prompt
// end, with a boundary every `chunk_tokens`, refreshes where they are by default (prompt ends and
// boundaries), and random keys and queries.
PolicyState make_random_state(const AdapterConfig& config, int64_t n_tokens, int64_t chunk_tokens,
                              Rng& rng);

}  // namespace chunkllm
