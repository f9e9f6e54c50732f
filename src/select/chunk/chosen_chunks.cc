// What a user is shown of the choices of the policy `chunk`.
#include <algorithm>
#include <cmath>

#include "kernels/ops/ops.h"
#include "select/chunk/chunk_policy.h"
#include "select/chunk/distance.h"

namespace chunkllm {
namespace {

// Of prompts; enough that a question's own last words weigh little.
constexpr int64_t kUsualRefreshes = 32;

// weight * softmax(scores + ln(tokens)), added to a field of the chunks.
void add_softmax(std::span<const float> scores, double weight, double ChosenChunk::*field,
                 std::vector<ChosenChunk>& chunks) {
  const double largest = *std::ranges::max_element(scores);
  const auto mass_of = [&](size_t j) {
    return static_cast<double>(chunks[j].positions.size()) * std::exp(scores[j] - largest);
  };
  double sum = 0;
  for (size_t j = 0; j < scores.size(); ++j) sum += mass_of(j);
  for (size_t j = 0; j < scores.size(); ++j) chunks[j].*field += weight * mass_of(j) / sum;
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
  const auto limits_in = [&](int64_t layer) {
    return limits_of(layer, {.local_from = at + 1}, at);
  };
  const Range eligible = eligible_chunks(sentences_, at, limits_in(upper.front()));
  if (eligible.empty()) return {};

  std::vector<ChosenChunk> chunks;
  for (int64_t j = eligible.begin; j < eligible.end; ++j) {
    chunks.push_back({.positions = sentences_.chunk(j)});
  }
  std::vector<int64_t> before;
  for (int64_t i = refresh - 1; i >= 0 && std::ssize(before) < kUsualRefreshes; --i) {
    if (prompts_.find(sentences_.refreshes[static_cast<size_t>(i)]) != nullptr) before.push_back(i);
  }
  const auto n_layers = static_cast<double>(upper.size());
  const auto n_before = static_cast<double>(before.size());
  std::vector<float> scores(chunks.size());
  // [1 + n_before, n_chunks]: of `refresh` and those before it, for all layers.
  std::vector<float> distances;
  if (adapter_.config.distance_term) {
    distances.resize((1 + before.size()) * chunks.size());
    float* row = distances.data();
    distance_features(sentences_, {refresh, refresh + 1}, eligible, row);
    for (const int64_t i : before) {
      distance_features(sentences_, {i, i + 1}, eligible, row += chunks.size());
    }
  }
  std::vector<float> tokens(chunks.size());
  chunk_lengths(sentences_, eligible, tokens.data());
  const int64_t n_heads = adapter_.config.selection_heads;
  std::vector<float> of_heads(static_cast<size_t>(n_heads) * chunks.size());
  std::vector<float> work;
  const auto score = [&](const ChunkIndex& index, int64_t i, size_t row) {
    const float* of_row = distances.empty() ? nullptr : distances.data() + row * chunks.size();
    index.scores({i, i + 1}, eligible, of_row, work, of_heads.data());
    work.resize(chunks.size());
    mix_heads(of_heads.data(), n_heads, eligible.size(), tokens.data(), eligible.size(),
              work.data(), scores.data());
  };
  for (const int64_t layer : upper) {
    const std::vector<int64_t> preferred = preferred_by_lookup(sentences_, at, limits_in(layer));
    const ChunkIndex& index = layers_[static_cast<size_t>(layer)];
    for (size_t i = 0; i < before.size(); ++i) {
      score(index, before[i], i + 1);
      add_softmax(scores, 1 / n_layers / n_before, &ChosenChunk::usual_mass, chunks);
    }
    score(index, refresh, 0);
    add_softmax(scores, 1 / n_layers, &ChosenChunk::mass, chunks);
    for (const int64_t j :
         select_chunks(sentences_, at, limits_in(layer), scores, preferred).chunks) {
      chunks[static_cast<size_t>(j - eligible.begin)].layers += 1 / n_layers;
    }
  }
  std::erase_if(chunks, [](const ChosenChunk& chunk) { return chunk.layers == 0; });
  return chunks;
}

}  // namespace chunkllm
