#include "engine/backbone.h"

#include <algorithm>

namespace chunkllm {
namespace {

KvType kv_type_of(const ModelWeights& weights) {
  return weights.precision.products == ProductType::kBf16 ? KvType::kBf16 : KvType::kF32;
}

}  // namespace

Backbone::Backbone(const ModelWeights& weights, int64_t max_tokens, int64_t block_tokens)
    : Backbone(weights, max_tokens, block_tokens, kv_type_of(weights)) {}

Backbone::Backbone(const ModelWeights& weights, int64_t max_tokens, int64_t block_tokens,
                   KvType kv_type)
    : weights_(weights),
      block_tokens_(block_tokens),
      cache_(weights.config, max_tokens, kv_type),
      transformer_(weights, block_tokens) {}

void Backbone::run(std::span<const int32_t> ids, int64_t n_layers, RowSelector& selector,
                   const CancelToken* cancel) {
  const auto n_tokens = static_cast<int64_t>(ids.size());
  for (int64_t begin = 0; begin < n_tokens; begin += block_tokens_) {
    if (cancel != nullptr) cancel->check();
    const int64_t n = std::min(block_tokens_, n_tokens - begin);
    transformer_.forward_layers(ids.subspan(static_cast<size_t>(begin), static_cast<size_t>(n)),
                                begin, n_layers, cache_, selector);
  }
}

int64_t Backbone::memory_bytes(const ModelWeights& weights, int64_t max_tokens) {
  return kv_bytes_per_position(weights.config, kv_type_of(weights)) * max_tokens +
         Transformer::workspace_bytes(weights.config, kBlockTokens);
}

}  // namespace chunkllm
