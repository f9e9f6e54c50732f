#include "select/keys/quest_policy.h"

#include <algorithm>

namespace chunkllm {
namespace {

SelectionSettings for_each_token(SelectionSettings settings) {
  settings.budget.top_k_chunks.reset();
  settings.lookup = false;
  settings.refresh = RefreshKind::kEvery;
  settings.refresh_every = 1;
  settings.prefill_selection = PrefillSelection::kPrevious;
  return settings;
}

AdapterConfig pages() {
  AdapterConfig rules;
  rules.fixed_chunk = QuestPolicy::kPageTokens;
  rules.max_chunk = kDefaultMaxChunk;
  return rules;
}

// The greatest, then the least of each feature.
void bounds_row(std::span<const float> keys, int64_t head_dim, float* row) {
  const auto n = static_cast<size_t>(head_dim);
  std::copy_n(keys.data(), n, row);
  std::copy_n(keys.data(), n, row + n);
  for (size_t t = 1; t < keys.size() / n; ++t) {
    for (size_t i = 0; i < n; ++i) {
      row[i] = std::max(row[i], keys[t * n + i]);
      row[n + i] = std::min(row[n + i], keys[t * n + i]);
    }
  }
}

// The parts above and below zero: times a row they give the bound.
void signed_parts(const float* query, int64_t head_dim, float* out) {
  for (int64_t i = 0; i < head_dim; ++i) {
    out[i] = std::max(query[i], 0.0f);
    out[head_dim + i] = std::min(query[i], 0.0f);
  }
}

}  // namespace

const KeyForm QuestPolicy::kForm{.parts = 2, .row = bounds_row, .query = signed_parts};

QuestPolicy::QuestPolicy(const ModelConfig& model, const SelectionSettings& settings)
    : OwnKeysPolicy(model, for_each_token(settings), {.rules = pages()}, kForm) {}

int64_t QuestPolicy::index_bytes(const ModelConfig& model, int64_t n_tokens) {
  return OwnKeysPolicy::index_bytes(model, n_tokens, kPageTokens, kDenseLayers, 2 * model.head_dim);
}

}  // namespace chunkllm
