#include "select/chunk/chunk_index.h"

#include <algorithm>
#include <cmath>

#include "kernels/ops/ops.h"

namespace chunkllm {

ChunkIndex::ChunkIndex(const QkAdapter& adapter, const AdapterConfig& config, ChunkKey chunk_key)
    : adapter_(adapter),
      d_model_(config.d_model),
      n_heads_(config.selection_heads),
      adapter_dim_(config.adapter_dim),
      q_dim_(config.q_dim()),
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
  target.resize(old_size + static_cast<size_t>(n * q_dim_));
  dot_rows(inputs_.data(), n, weight.data(), q_dim_, d_model_, 1.0f, target.data() + old_size);
}

void ChunkIndex::scores(Range refreshes, Range chunks, const float* distances,
                        std::vector<float>& work, float* out) const {
  const float scale = 1.0f / std::sqrt(static_cast<float>(adapter_dim_));
  const float* queries = queries_.data() + refreshes.begin * q_dim_;
  // Each head's components alone, so that one pass over the keys serves all heads.
  if (n_heads_ > 1) {
    work.assign(static_cast<size_t>(refreshes.size() * n_heads_ * q_dim_), 0.0f);
    for (int64_t i = 0; i < refreshes.size() * n_heads_; ++i) {
      const int64_t head = i % n_heads_;
      std::copy_n(queries + i * adapter_dim_, adapter_dim_,
                  work.data() + i * q_dim_ + head * adapter_dim_);
    }
  }
  const float* rows = n_heads_ > 1 ? work.data() : queries;
  dot_rows(rows, refreshes.size() * n_heads_, keys_.data() + chunks.begin * q_dim_, chunks.size(),
           q_dim_, scale, out);
  if (!distance_term_) return;
  for (int64_t i = 0; i < refreshes.size() * n_heads_; ++i) {
    const float weight = scale * queries[(i + 1) * adapter_dim_ - 1];
    const float* of_refresh = distances + i / n_heads_ * chunks.size();
    for (int64_t j = 0; j < chunks.size(); ++j) *out++ += weight * of_refresh[j];
  }
}

bool ChunkIndex::restore(const ChunkTrack& track, const std::vector<float>& keys,
                         const std::vector<float>& queries) {
  const auto dim = static_cast<size_t>(q_dim_);
  if (keys.size() != static_cast<size_t>(track.n_chunks()) * dim ||
      queries.size() != track.refreshes.size() * dim) {
    return false;
  }
  keys_ = keys;
  queries_ = queries;
  return true;
}

void ChunkIndex::truncate(const ChunkTrack& track) {
  keys_.resize(static_cast<size_t>(track.n_chunks() * q_dim_));
  queries_.resize(track.refreshes.size() * static_cast<size_t>(q_dim_));
  key_inputs_.reset();
}

}  // namespace chunkllm
