#include "select/chunk/remainder.h"

#include <algorithm>
#include <cmath>

#include "kernels/ops/ops.h"
#include "select/keys/key_rows.h"

namespace chunkllm {

void ChunkSums::extend(const ChunkTrack& track, int64_t position, int64_t sink,
                       const KvLayerView& kv) {
  n_kv_heads_ = kv.n_kv_heads;
  head_dim_ = kv.head_dim;
  const int64_t chunk_size = n_kv_heads_ * 2 * head_dim_;
  const int64_t n_before = static_cast<int64_t>(sums_.size()) / chunk_size;
  const int64_t n_closed = track.n_closed_at(position);
  if (n_closed <= n_before) return;
  sums_.resize(static_cast<size_t>(n_closed * chunk_size), 0.0f);
  row_.resize(static_cast<size_t>(head_dim_));
  for (int64_t chunk = n_before; chunk < n_closed; ++chunk) {
    const Range rows = rows_after_sink(track.chunk(chunk), sink);
    float* sum = sums_.data() + chunk * chunk_size;
    for (int64_t head = 0; head < n_kv_heads_; ++head) {
      for (int64_t t = rows.begin; t < rows.end; ++t) {
        read_key(kv, head, t, row_.data());
        add_to(row_.data(), head_dim_, sum);
        read_value(kv, head, t, row_.data());
        add_to(row_.data(), head_dim_, sum + head_dim_);
      }
      sum += 2 * head_dim_;
    }
  }
}

void ChunkSums::truncate(int64_t n_chunks) {
  const auto n = static_cast<size_t>(n_chunks * n_kv_heads_ * 2 * head_dim_);
  if (n < sums_.size()) sums_.resize(n);
}

void RemainderRows::begin(int64_t n_rows, const KvLayerView& kv) {
  n_kv_heads_ = kv.n_kv_heads;
  head_dim_ = kv.head_dim;
  capacity_ = n_rows;
  n_rows_ = 0;
  const auto n = static_cast<size_t>(n_kv_heads_ * capacity_ * head_dim_);
  if (keys_.size() < n) {
    keys_.resize(n);
    values_.resize(n);
  }
  log_weights_.assign(static_cast<size_t>(capacity_), 0.0f);
}

Range RemainderRows::add(const ChunkTrack& track, const ChunkSums& sums, Range eligible,
                         const Selection& selection, int64_t sink, int64_t most) {
  left_out_.clear();
  auto chosen = selection.chunks.begin();
  for (int64_t j = eligible.begin; j < eligible.end; ++j) {
    while (chosen != selection.chunks.end() && *chosen < j) ++chosen;
    if (chosen == selection.chunks.end() || *chosen != j) left_out_.push_back(j);
  }
  const auto n_left_out = static_cast<int64_t>(left_out_.size());
  const int64_t n_added = std::min(n_left_out, most);
  const Range added{n_rows_, n_rows_ + n_added};
  for (int64_t i = 0; i < n_added; ++i) {
    const Range merged{i * n_left_out / n_added, (i + 1) * n_left_out / n_added};
    int64_t n_tokens = 0;
    for (int64_t m = merged.begin; m < merged.end; ++m) {
      n_tokens += rows_after_sink(track.chunk(left_out_[static_cast<size_t>(m)]), sink).size();
    }
    const float scale = 1.0f / static_cast<float>(n_tokens);
    for (int64_t head = 0; head < n_kv_heads_; ++head) {
      const int64_t row = (head * capacity_ + n_rows_) * head_dim_;
      float* __restrict key = keys_.data() + row;
      float* __restrict value = values_.data() + row;
      std::fill_n(key, head_dim_, 0.0f);
      std::fill_n(value, head_dim_, 0.0f);
      for (int64_t m = merged.begin; m < merged.end; ++m) {
        const float* __restrict sum = sums.of(left_out_[static_cast<size_t>(m)], head);
        for (int64_t d = 0; d < head_dim_; ++d) key[d] += sum[d];
        for (int64_t d = 0; d < head_dim_; ++d) value[d] += sum[head_dim_ + d];
      }
      for (int64_t d = 0; d < head_dim_; ++d) key[d] *= scale;
      for (int64_t d = 0; d < head_dim_; ++d) value[d] *= scale;
    }
    log_weights_[static_cast<size_t>(n_rows_)] = std::log(static_cast<float>(n_tokens));
    ++n_rows_;
  }
  return added;
}

WeightedRows RemainderRows::view() const {
  return {keys_.data(), values_.data(), log_weights_.data(), capacity_};
}

}  // namespace chunkllm
