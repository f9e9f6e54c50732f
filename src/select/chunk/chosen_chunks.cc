// What a user is shown of the choices of the policy `chunk`.
#include <algorithm>
#include <cmath>

#include "select/chunk/chunk_policy.h"

namespace chunkllm {
namespace {

constexpr int64_t kUsualRefreshes = 32;  // enough that a question's own last words weigh little

// weight * softmax(scores), added to a field of the chunks.
void add_softmax(std::span<const float> scores, double weight, double ChosenChunk::*field,
                 std::vector<ChosenChunk>& chunks) {
  const double largest = *std::ranges::max_element(scores);
  double sum = 0;
  for (const float score : scores) sum += std::exp(score - largest);
  for (size_t j = 0; j < scores.size(); ++j) {
    chunks[j].*field += weight * std::exp(scores[j] - largest) / sum;
  }
}

}  // namespace

std::vector<ChosenChunk> ChunkPolicy::chosen_at(int64_t position) const {
  std::vector<int64_t> upper;
  for (int64_t layer = 1; layer < adapter_.config.n_layers; ++layer) {
    if (adapter_.config.selects(layer)) upper.push_back(layer);
  }
  upper.erase(upper.begin(), upper.end() - static_cast<int64_t>((upper.size() + 2) / 3));
  const int64_t refresh = sentences_.refreshes_in({0, position + 1}).end - 1;
  if (upper.empty() || refresh < 0) return {};
  const int64_t at = sentences_.refreshes[static_cast<size_t>(refresh)];
  const SelectionLimits limits = limits_of({.local_from = at + 1}, at);
  const Range eligible = eligible_chunks(sentences_, at, limits);
  if (eligible.empty()) return {};

  std::vector<ChosenChunk> chunks;
  for (int64_t j = eligible.begin; j < eligible.end; ++j) {
    chunks.push_back({.positions = sentences_.chunk(j)});
  }
  const Range refreshes{std::max<int64_t>(0, refresh - kUsualRefreshes), refresh + 1};
  const auto n_layers = static_cast<double>(upper.size());
  const auto n_before = static_cast<double>(refreshes.size() - 1);
  std::vector<float> all_scores(static_cast<size_t>(refreshes.size()) * chunks.size());
  const std::span<const float> scores = std::span(all_scores).last(chunks.size());
  for (const int64_t layer : upper) {
    layers_[static_cast<size_t>(layer)].index.scores(refreshes, eligible, all_scores.data());
    add_softmax(scores, 1 / n_layers, &ChosenChunk::mass, chunks);
    for (size_t i = 0; i + chunks.size() < all_scores.size(); i += chunks.size()) {
      add_softmax(std::span(all_scores).subspan(i, chunks.size()), 1 / n_layers / n_before,
                  &ChosenChunk::usual_mass, chunks);
    }
    for (const int64_t j : select_chunks(sentences_, at, limits, scores).chunks) {
      chunks[static_cast<size_t>(j - eligible.begin)].layers += 1 / n_layers;
    }
  }
  std::erase_if(chunks, [](const ChosenChunk& chunk) { return chunk.layers == 0; });
  return chunks;
}

}  // namespace chunkllm
