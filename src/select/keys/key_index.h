// An index of one layer's chunks by the model's own cached keys, and the scores of queries.
#pragma once

#include <algorithm>
#include <cstdint>
#include <span>
#include <vector>

#include "kernels/attention/attention.h"

namespace chunkllm {

// What stands for a chunk, and what a query is multiplied with it as.
struct KeyForm {
  int64_t parts = 1;  // a row of the index has parts * head_dim numbers
  // The row of a chunk from its keys [n_keys, head_dim], at least one.
  void (*row)(std::span<const float> keys, int64_t head_dim, float* row) = nullptr;
  // What a head's query [head_dim] is multiplied with rows as.
  void (*query)(const float* query, int64_t head_dim, float* out) = nullptr;
};

// The keys that stand for a chunk: those of the sink are unlike all others, and a chunk of nothing
// else, which is never eligible, has its last one.
inline Range keys_of_chunk(Range chunk, int64_t sink) {
  return {std::max(chunk.begin, std::min(sink, chunk.end - 1)), chunk.end};
}

// A row a chunk and KV head. `form` must outlive it. One thread at a time.
class KeyIndex {
 public:
  KeyIndex(const KeyForm& form, int64_t n_kv_heads, int64_t head_dim);

  // Takes in the next chunk, whose keys are cached at `positions`; `keys` is scratch.
  void add(const KvLayerView& kv, Range positions, std::vector<float>& keys);
  // Forgets all chunks but the first `n`.
  void truncate(int64_t n);

  const KeyForm& form() const { return form_; }
  int64_t n_chunks() const { return n_chunks_; }
  int64_t n_kv_heads() const { return static_cast<int64_t>(rows_.size()); }
  int64_t head_dim() const { return head_dim_; }
  int64_t row_size() const { return form_.parts * head_dim_; }
  const float* rows(int64_t kv_head) const { return rows_[static_cast<size_t>(kv_head)].data(); }
  int64_t size_bytes() const;

 private:
  const KeyForm& form_;
  int64_t head_dim_;
  int64_t n_chunks_ = 0;
  std::vector<std::vector<float>> rows_;  // [n_kv_heads] of [n_chunks, row_size]
};

// Queries that are scored in one pass over an index. Views.
struct KeyQueries {
  std::span<const float* const> queries;  // [n] of [n_heads, head_dim], rotated
  std::span<const Range> eligible;        // [n], chunks, none of them empty
  int64_t n_heads = 0;
  float scale = 1.0f;
};

// Scores chunks by an index. Owns the work space. One thread at a time.
class KeyScorer {
 public:
  // The score of a chunk is
  //   ln(mean over heads h of softmax over eligible chunks j of (scale query_h . row_j))
  // Writes out [n_queries, chunks.size()], of which only eligible chunks, all within `chunks`, have
  // scores.
  void score(const KeyIndex& index, const KeyQueries& queries, Range chunks,
             std::vector<float>& out);

 private:
  std::vector<float> queries_, products_, of_heads_, ones_;
};

}  // namespace chunkllm
