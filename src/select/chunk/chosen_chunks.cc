// What a user is shown of the choices of the policy `chunk`.
#include <algorithm>
#include <cmath>

#include "select/chunk/chunk_policy.h"

namespace chunkllm {
namespace {

// softmax(scores), added to `mass`.
void add_softmax(std::span<const float> scores, std::vector<ChosenChunk>& chunks) {
  const double largest = *std::ranges::max_element(scores);
  double sum = 0;
  for (const float score : scores) sum += std::exp(score - largest);
  for (size_t j = 0; j < scores.size(); ++j) {
    chunks[j].mass += std::exp(scores[j] - largest) / sum;
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
  std::vector<float> scores(chunks.size());
  for (const int64_t layer : upper) {
    layers_[static_cast<size_t>(layer)].index.scores({refresh, refresh + 1}, eligible,
                                                     scores.data());
    add_softmax(scores, chunks);
    for (const int64_t j : select_chunks(sentences_, at, limits, scores).chunks) {
      chunks[static_cast<size_t>(j - eligible.begin)].layers += 1;
    }
  }
  std::erase_if(chunks, [](const ChosenChunk& chunk) { return chunk.layers == 0; });
  for (ChosenChunk& chunk : chunks) {
    chunk.layers /= static_cast<double>(upper.size());
    chunk.mass /= static_cast<double>(upper.size());
  }
  return chunks;
}

}  // namespace chunkllm
