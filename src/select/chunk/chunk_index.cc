#include "select/chunk/chunk_index.h"

#include <cmath>

#include "kernels/ops/ops.h"

namespace chunkllm {

ChunkIndex::ChunkIndex(const QkAdapter& adapter, const AdapterConfig& config, ChunkKey chunk_key)
    : adapter_(adapter),
      d_model_(config.d_model),
      adapter_dim_(config.adapter_dim),
      distance_term_(config.distance_term),
      key_inputs_(config.d_model, chunk_key, config.sink) {}

void ChunkIndex::extend(const ChunkTrack& track, Range positions, const float* x) {
  inputs_.clear();
  key_inputs_.extend(track, positions, x, inputs_);
  const int64_t n_keys = static_cast<int64_t>(inputs_.size()) / d_model_;
  project(adapter_.k, n_keys, keys_);

  inputs_.clear();
  const Range refreshes = track.refreshes_in(positions);
  for (int64_t i = refreshes.begin; i < refreshes.end; ++i) {
    const float* row = x + (track.refreshes[static_cast<size_t>(i)] - positions.begin) * d_model_;
    inputs_.insert(inputs_.end(), row, row + d_model_);
  }
  project(adapter_.q, refreshes.size(), queries_);
}

void ChunkIndex::project(const std::vector<float>& weight, int64_t n, std::vector<float>& target) {
  if (n == 0) return;
  const size_t old_size = target.size();
  target.resize(old_size + static_cast<size_t>(n * adapter_dim_));
  dot_rows(inputs_.data(), n, weight.data(), adapter_dim_, d_model_, 1.0f,
           target.data() + old_size);
}

void ChunkIndex::scores(Range refreshes, Range chunks, const float* distances, float* out) const {
  const float scale = 1.0f / std::sqrt(static_cast<float>(adapter_dim_));
  const float* queries = queries_.data() + refreshes.begin * adapter_dim_;
  dot_rows(queries, refreshes.size(), keys_.data() + chunks.begin * adapter_dim_, chunks.size(),
           adapter_dim_, scale, out);
  if (!distance_term_) return;
  for (int64_t i = 0; i < refreshes.size(); ++i) {
    const float weight = scale * queries[(i + 1) * adapter_dim_ - 1];
    for (int64_t j = 0; j < chunks.size(); ++j) *out++ += weight * *distances++;
  }
}

bool ChunkIndex::restore(const ChunkTrack& track, const std::vector<float>& keys,
                         const std::vector<float>& queries) {
  const auto dim = static_cast<size_t>(adapter_dim_);
  if (keys.size() != static_cast<size_t>(track.n_chunks()) * dim ||
      queries.size() != track.refreshes.size() * dim) {
    return false;
  }
  keys_ = keys;
  queries_ = queries;
  return true;
}

void ChunkIndex::truncate(const ChunkTrack& track) {
  keys_.resize(static_cast<size_t>(track.n_chunks() * adapter_dim_));
  queries_.resize(track.refreshes.size() * static_cast<size_t>(adapter_dim_));
  key_inputs_.reset();
}

}  // namespace chunkllm
