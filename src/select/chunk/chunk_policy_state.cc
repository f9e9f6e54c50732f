// What a saved cache holds of the policy `chunk`.
#include "base/error.h"
#include "select/chunk/chunk_policy.h"

namespace chunkllm {

std::string chunk_keys_name(size_t layer) { return fmt::format("layers.{}.chunk_keys", layer); }
std::string refresh_queries_name(size_t layer) {
  return fmt::format("layers.{}.refresh_queries", layer);
}

PolicyState ChunkPolicy::state() const {
  PolicyState state;
  state.positions[kChunkEnds] = sentences_.ends;
  for (size_t i = 0; i < layers_.size(); ++i) {
    if (!adapter_.config.selects(static_cast<int64_t>(i))) continue;
    state.floats[chunk_keys_name(i)] = layers_[i].keys();
    state.floats[refresh_queries_name(i)] = layers_[i].queries();
  }
  return state;
}

void ChunkPolicy::restore(std::span<const int32_t> tokens, const PolicyState& state) {
  const auto n_tokens = static_cast<int64_t>(tokens.size());
  const auto refuse = [](const std::string& what) {
    fail(ErrorCode::kData, "the saved chunk index does not fit its tokens: {}; make it anew", what);
  };
  const auto find = [&](const auto& arrays, const std::string& name) -> const auto& {
    const auto found = arrays.find(name);
    if (found == arrays.end()) refuse(name + " is missing");
    return found->second;
  };
  add_to_grid({0, n_tokens}, tokens);
  look_up_tokens(0, tokens);
  done_ = first_done_ = scanned_ = n_known_ = n_tokens;
  const std::vector<int64_t>& ends = find(state.positions, kChunkEnds);
  auto next_end = ends.begin();
  for (int64_t t = 0; t < n_tokens; ++t) {
    const bool boundary = next_end != ends.end() && *next_end == t + 1;
    if (boundary) ++next_end;
    rules_.add(sentences_, t, boundary, role_at(t));
  }
  if (next_end != ends.end()) {
    refuse(fmt::format("chunk end {} is out of order or beyond {} tokens", *next_end, n_tokens));
  }
  size_t n_used = 0;
  for (size_t i = 0; i < layers_.size(); ++i) {
    if (!adapter_.config.selects(static_cast<int64_t>(i))) continue;
    const ChunkTrack& track = track_of(static_cast<int64_t>(i));
    const std::vector<float>& keys = find(state.floats, chunk_keys_name(i));
    const std::vector<float>& queries = find(state.floats, refresh_queries_name(i));
    n_used += 2;
    if (!layers_[i].restore(track, keys, queries)) {
      refuse(fmt::format("layer {} has {} numbers for {} chunks and {} for {} refreshes", i,
                         keys.size(), track.n_chunks(), queries.size(), track.refreshes.size()));
    }
  }
  if (n_used != state.floats.size() || state.positions.size() != 1) {
    refuse("it has arrays that no layer of the model has");
  }
}

}  // namespace chunkllm
