// The remainder: rows that stand for the chunks that a selection leaves out, so that attention
// misses less of their mass (docs/method.md, "The remainder").
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "base/range.h"
#include "kernels/attention/attention.h"
#include "select/chunk/chunk_track.h"
#include "select/chunk/selection.h"

namespace chunkllm {

// Sums of the cached keys and values of each closed chunk of one layer, but for rows of the sink.
// Follows from the cache, so that nothing of it is saved.
class ChunkSums {
 public:
  // Takes in the chunks of `track` that end at or before `position`, whose rows are cached.
  void extend(const ChunkTrack& track, int64_t position, int64_t sink, const KvLayerView& kv);
  // Forgets the chunks from number n_chunks on.
  void truncate(int64_t n_chunks);

  // Keys, then values, of one KV head: [2, head_dim].
  const float* of(int64_t chunk, int64_t kv_head) const {
    return sums_.data() + (chunk * n_kv_heads_ + kv_head) * 2 * head_dim_;
  }
  int64_t size_bytes() const { return static_cast<int64_t>(sums_.size() * sizeof(float)); }
  // Bytes of one layer's at `n_tokens`, foretold at one chunk every 16 tokens.
  static int64_t foretold_bytes(int64_t kv_dim, int64_t n_tokens) {
    return n_tokens / 16 * 2 * kv_dim * static_cast<int64_t>(sizeof(float));
  }

 private:
  int64_t n_kv_heads_ = 0;
  int64_t head_dim_ = 0;
  std::vector<float> sums_;  // [n_chunks, n_kv_heads, 2, head_dim]
  std::vector<float> row_;   // scratch
};

// The weighted rows of one layer for the spans of a block. A row is the mean key and the mean value
// of its tokens, weighed by ln of their number. Keeps its memory.
class RemainderRows {
 public:
  // Makes room for `n_rows` rows of that shape.
  void begin(int64_t n_rows, const KvLayerView& kv);
  // Adds rows for the `eligible` chunks that `selection` leaves out: one for each, or neighbours
  // merged into at most `most` of nearly equally many chunks. Returns which.
  Range add(const ChunkTrack& track, const ChunkSums& sums, Range eligible,
            const Selection& selection, int64_t sink, int64_t most);

  WeightedRows view() const;

 private:
  int64_t n_kv_heads_ = 0;
  int64_t head_dim_ = 0;
  int64_t capacity_ = 0;
  int64_t n_rows_ = 0;
  std::vector<float> keys_;         // [n_kv_heads, capacity, head_dim]
  std::vector<float> values_;       // [n_kv_heads, capacity, head_dim]
  std::vector<float> log_weights_;  // [capacity]
  std::vector<int64_t> left_out_;   // scratch
};

}  // namespace chunkllm
