// Keys and values of one sequence, all layers.
#pragma once

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <memory>
#include <span>
#include <vector>

#include "base/file_backed_memory.h"
#include "base/memory.h"
#include "kernels/attention/attention.h"
#include "model/config.h"

namespace chunkllm {

// Bytes of one position over all layers, keys and values. Throws Error (kInvalidArgument) if the
// model's head_dim does not fit the type.
int64_t kv_bytes_per_position(const ModelConfig& config, KvType type);

// Where the rows lie: in memory, or in a file of which a part is resident.
struct KvStorage {
  int64_t resident_bytes = 0;         // at most, of one cache; 0: in memory, all of it
  std::filesystem::path folder = {};  // for the file

  bool in_file() const { return resident_bytes > 0; }
};

// Rows are positions. Address space for `capacity` rows is reserved at once and becomes memory as
// rows are stored; in a file, room for them all is taken at once. One thread at a time stores;
// reading needs that no one stores the same rows.
class KvCache {
 public:
  // Throws Error: kMemory if the address space cannot be had, kInvalidArgument if the model's
  // head_dim does not fit the type, and as FileBackedMemory does.
  KvCache(const ModelConfig& config, int64_t capacity, KvType type, const KvStorage& storage = {});

  // Stores rows for the positions [first_position, first_position + n_tokens) of a layer. k and v
  // are float32 [n_tokens, n_kv_heads, head_dim] with `row_stride` floats from token to token; they
  // are rounded to the cache's type. Rows must lie within the capacity.
  void store(int64_t layer, int64_t first_position, int64_t n_tokens, const float* k,
             const float* v, int64_t row_stride);

  KvLayerView layer(int64_t layer) const;

  // Says which rows of a layer are read next: what of them is in the file alone is fetched ahead of
  // its use, and what was used longest ago leaves memory. Other rows can be read all the same.
  void will_read(int64_t layer, std::span<const AttentionSpan> spans);

  // The stored bytes of the first `n_rows` positions of one KV head of a layer, keys or values, one
  // row after the other: what a saved cache holds. They lie in the cache itself or, where its rows
  // lie otherwise, are copied to `space`, which is the caller's.
  std::span<const std::byte> rows(int64_t layer, bool values, int64_t head, int64_t n_rows,
                                  std::vector<std::byte>& space) const;
  // Stores the same again. Throws Error (kInvalidArgument) for bytes that are no whole rows or more
  // than fit.
  void set_rows(int64_t layer, bool values, int64_t head, std::span<const std::byte> bytes);
  // As kv_bytes_per_position().
  int64_t bytes_per_position() const;
  // Bytes of one row of one KV head, keys or values.
  int64_t row_bytes() const { return kv_row_bytes(type_, head_dim_); }
  int64_t reserved_bytes() const { return capacity_ * bytes_per_position(); }
  // Of the first `n_rows` positions, which were stored: bytes that are in memory, as far as it was
  // told of their use.
  int64_t resident_bytes(int64_t n_rows) const;

 private:
  std::byte* data() const { return file_ ? file_->data() : buffer_.data(); }
  // Where a row lies, from the beginning of all: in memory those of a KV head, keys or values, lie
  // together, in a file those of a position, so that a few positions are few pages.
  int64_t offset(int64_t layer, bool values, int64_t head, int64_t position) const {
    const int64_t kind = values ? 1 : 0;
    const int64_t row = file_ ? ((layer * capacity_ + position) * 2 + kind) * n_kv_heads_ + head
                              : ((layer * 2 + kind) * n_kv_heads_ + head) * capacity_ + position;
    return row * row_bytes();
  }
  // Rows from one position of a head to its next.
  int64_t row_step() const { return file_ ? 2 * n_kv_heads_ : 1; }
  // The rows of a layer, all heads, keys and values, are used next.
  void will_use(int64_t layer, Range rows) const;

  int64_t n_layers_;
  int64_t n_kv_heads_;
  int64_t head_dim_;
  int64_t capacity_;
  KvType type_;
  // One of them.
  ReservedBuffer buffer_;                   // [n_layers, 2 (keys, values), n_kv_heads, capacity]
  std::unique_ptr<FileBackedMemory> file_;  // [n_layers, capacity, 2, n_kv_heads]
  std::vector<Range> merged_;
};

}  // namespace chunkllm
