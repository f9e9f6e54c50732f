#include "select/chunk/key_inputs.h"

#include <algorithm>

namespace chunkllm {

KeyInputs::KeyInputs(int64_t d_model, ChunkKey key, int64_t sink)
    : d_model_(d_model), key_(key), sink_(sink), open_sum_(static_cast<size_t>(d_model), 0.0f) {}

void KeyInputs::extend(const ChunkTrack& track, Range positions, const float* x,
                       std::vector<float>& rows) {
  int64_t next = track.n_closed_at(positions.begin);
  if (key_ == ChunkKey::kBoundary) {
    for (; next < track.n_chunks() && track.chunk(next).end <= positions.end; ++next) {
      const float* row = x + (track.chunk(next).end - 1 - positions.begin) * d_model_;
      rows.insert(rows.end(), row, row + d_model_);
    }
    return;
  }
  // Tokens are summed one by one, so that the sum does not depend on how the sequence is cut into
  // blocks.
  for (int64_t t = positions.begin; t < positions.end; ++t) {
    const float* row = x + (t - positions.begin) * d_model_;
    if (t >= sink_) {
      for (int64_t i = 0; i < d_model_; ++i) open_sum_[static_cast<size_t>(i)] += row[i];
    }
    if (next == track.n_chunks() || track.chunk(next).end != t + 1) continue;
    const int64_t n_summed = t + 1 - std::max(track.chunk(next).begin, sink_);
    const float inverse = 1.0f / static_cast<float>(std::max<int64_t>(n_summed, 1));
    for (float& sum : open_sum_) {
      rows.push_back(sum * inverse);
      sum = 0.0f;
    }
    ++next;
  }
}

void KeyInputs::reset() { std::fill(open_sum_.begin(), open_sum_.end(), 0.0f); }

}  // namespace chunkllm
