#include "select/keys/key_index.h"

#include <algorithm>

#include "base/thread_pool.h"
#include "kernels/ops/ops.h"
#include "select/keys/key_rows.h"

namespace chunkllm {

KeyIndex::KeyIndex(const KeyForm& form, int64_t n_kv_heads, int64_t head_dim)
    : form_(form), head_dim_(head_dim), rows_(static_cast<size_t>(n_kv_heads)) {}

void KeyIndex::add(const KvLayerView& kv, Range positions, std::vector<float>& keys) {
  keys.resize(static_cast<size_t>(positions.size() * head_dim_));
  for (size_t head = 0; head < rows_.size(); ++head) {
    for (int64_t t = positions.begin; t < positions.end; ++t) {
      read_key(kv, static_cast<int64_t>(head), t, keys.data() + (t - positions.begin) * head_dim_);
    }
    std::vector<float>& rows = rows_[head];
    rows.resize(static_cast<size_t>((n_chunks_ + 1) * row_size()));
    form_.row(keys, head_dim_, rows.data() + n_chunks_ * row_size());
  }
  ++n_chunks_;
}

void KeyIndex::truncate(int64_t n) {
  n_chunks_ = std::min(n_chunks_, n);
  for (std::vector<float>& rows : rows_) rows.resize(static_cast<size_t>(n_chunks_ * row_size()));
}

int64_t KeyIndex::size_bytes() const {
  int64_t n_bytes = 0;
  for (const std::vector<float>& rows : rows_) {
    n_bytes += static_cast<int64_t>(rows.size() * sizeof(float));
  }
  return n_bytes;
}

void KeyScorer::score(const KeyIndex& index, const KeyQueries& queries, Range chunks,
                      std::vector<float>& out) {
  const int64_t n_queries = std::ssize(queries.queries);
  const int64_t n_chunks = chunks.size();
  const int64_t n_heads = queries.n_heads;
  const int64_t n_group = n_heads / index.n_kv_heads();  // heads that share a KV head
  const int64_t row_size = index.row_size();
  ones_.resize(static_cast<size_t>(n_chunks), 1.0f);
  queries_.resize(static_cast<size_t>(n_queries * n_group * row_size));
  products_.resize(static_cast<size_t>(n_queries * n_group * n_chunks));
  of_heads_.resize(static_cast<size_t>(n_queries * n_heads * n_chunks));
  for (int64_t kv_head = 0; kv_head < index.n_kv_heads(); ++kv_head) {
    for (int64_t i = 0; i < n_queries * n_group; ++i) {
      const int64_t head = kv_head * n_group + i % n_group;
      const float* query = queries.queries[static_cast<size_t>(i / n_group)];
      index.form().query(query + head * index.head_dim(), index.head_dim(),
                         queries_.data() + i * row_size);
    }
    dot_rows(queries_.data(), n_queries * n_group, index.rows(kv_head) + chunks.begin * row_size,
             n_chunks, row_size, queries.scale, products_.data());
    for (int64_t i = 0; i < n_queries; ++i) {
      std::copy_n(products_.data() + i * n_group * n_chunks, n_group * n_chunks,
                  of_heads_.data() + (i * n_heads + kv_head * n_group) * n_chunks);
    }
  }
  out.resize(static_cast<size_t>(n_queries * n_chunks));
  parallel_for(n_queries, 1, [&](int64_t begin, int64_t end, int) {
    for (int64_t i = begin; i < end; ++i) {
      const Range eligible = queries.eligible[static_cast<size_t>(i)];
      const int64_t first = eligible.begin - chunks.begin;
      mix_heads(of_heads_.data() + i * n_heads * n_chunks + first, n_heads, n_chunks, ones_.data(),
                eligible.size(), products_.data() + i * n_chunks,
                out.data() + i * n_chunks + first);
    }
  });
}

}  // namespace chunkllm
