#include "select/keys/mean_key_policy.h"

#include <algorithm>

#include "select/chunk/token_marks.h"

namespace chunkllm {
namespace {

AdapterConfig rules_of(const SelectionSettings& settings) {
  AdapterConfig rules;
  rules.min_chunk = settings.min_chunk.value_or(kDefaultMinChunk);
  rules.max_chunk = kDefaultMaxChunk;
  return rules;
}

void mean_row(std::span<const float> keys, int64_t head_dim, float* row) {
  const auto n = static_cast<size_t>(head_dim);
  const size_t n_keys = keys.size() / n;
  std::fill_n(row, n, 0.0f);
  for (size_t t = 0; t < n_keys; ++t) {
    for (size_t i = 0; i < n; ++i) row[i] += keys[t * n + i];
  }
  for (size_t i = 0; i < n; ++i) row[i] /= static_cast<float>(n_keys);
}

void same_query(const float* query, int64_t head_dim, float* out) {
  std::copy_n(query, head_dim, out);
}

}  // namespace

const KeyForm MeanKeyPolicy::kForm{.parts = 1, .row = mean_row, .query = same_query};

MeanKeyPolicy::MeanKeyPolicy(const ModelConfig& model, const SelectionSettings& settings,
                             std::span<const int32_t> special_ids,
                             std::span<const uint8_t> token_marks)
    : OwnKeysPolicy(model, settings,
                    {.rules = rules_of(settings),
                     .special_ids = special_ids,
                     .token_marks = token_marks,
                     .ending_marks = kEndsSentence | kHoldsLineEnd},
                    kForm) {}

int64_t MeanKeyPolicy::index_bytes(const ModelConfig& model, int64_t n_tokens) {
  constexpr int64_t kTokensPerChunk = 16;
  return OwnKeysPolicy::index_bytes(model, n_tokens, kTokensPerChunk, 0, model.head_dim);
}

BlockNeeds MeanKeyPolicy::block_needs() { return {.least_tokens = kDefaultMaxChunk}; }

}  // namespace chunkllm
