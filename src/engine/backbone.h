// The backbone alone, run over sequences for what its layers do on the way.
#pragma once

#include <cstdint>
#include <span>

#include "base/cancel.h"
#include "model/kv_cache.h"
#include "model/transformer.h"

namespace chunkllm {

// Owns cache and work space for one sequence at a time; the weights must outlive it. One thread at
// a time.
class Backbone {
 public:
  static constexpr int64_t kBlockTokens = 512;

  // Sequences have at most `max_tokens`. Throws Error (kMemory).
  Backbone(const ModelWeights& weights, int64_t max_tokens, int64_t block_tokens = kBlockTokens);
  // The same with a cache of this type, instead of the one that goes with the weights' products.
  Backbone(const ModelWeights& weights, int64_t max_tokens, int64_t block_tokens, KvType kv_type);

  // Runs `ids` from position 0 through the first `n_layers` layers. Throws Error (kInterrupted)
  // between blocks once `cancel` (may be null) wants it.
  void run(std::span<const int32_t> ids, int64_t n_layers, RowSelector& selector,
           const CancelToken* cancel);

  const ModelWeights& weights() const { return weights_; }

  // Memory of cache and work space.
  static int64_t memory_bytes(const ModelWeights& weights, int64_t max_tokens);

 private:
  const ModelWeights& weights_;
  int64_t block_tokens_;
  KvCache cache_;
  Transformer transformer_;
};

}  // namespace chunkllm
