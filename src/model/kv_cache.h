// Keys and values of one sequence, all layers.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include "base/memory.h"
#include "kernels/attention/attention.h"
#include "model/config.h"

namespace chunkllm {

// Bytes of one position over all layers, keys and values. Throws Error (kInvalidArgument) if the
// model's head_dim does not fit the type.
int64_t kv_bytes_per_position(const ModelConfig& config, KvType type);

// Rows are positions. Address space for `capacity` rows is reserved at once and becomes memory as
// rows are stored. One thread at a time stores; reading needs that no one stores the same rows.
class KvCache {
 public:
  // Throws Error: kMemory if the address space cannot be had, kInvalidArgument if the model's
  // head_dim does not fit the type.
  KvCache(const ModelConfig& config, int64_t capacity, KvType type);

  // Stores rows for the positions [first_position, first_position + n_tokens) of a layer. k and v
  // are float32 [n_tokens, n_kv_heads, head_dim] with `row_stride` floats from token to token; they
  // are rounded to the cache's type. Rows must lie within the capacity.
  void store(int64_t layer, int64_t first_position, int64_t n_tokens, const float* k,
             const float* v, int64_t row_stride);

  KvLayerView layer(int64_t layer) const;

  // The stored bytes of the first `n_rows` positions of one KV head of a layer, keys or values, as
  // they lie in the cache: what a saved cache holds.
  std::span<const std::byte> rows(int64_t layer, bool values, int64_t head, int64_t n_rows) const;
  // Stores the same again. Throws Error (kInvalidArgument) for bytes that are no whole rows or more
  // than fit.
  void set_rows(int64_t layer, bool values, int64_t head, std::span<const std::byte> bytes);
  // As kv_bytes_per_position().
  int64_t bytes_per_position() const;
  // Bytes of one row of one KV head, keys or values.
  int64_t row_bytes() const { return kv_row_bytes(type_, head_dim_); }
  int64_t reserved_bytes() const { return capacity_ * bytes_per_position(); }

 private:
  int64_t n_layers_;
  int64_t n_kv_heads_;
  int64_t head_dim_;
  int64_t capacity_;
  KvType type_;
  ReservedBuffer buffer_;  // [n_layers, 2 (keys, values), n_kv_heads, capacity, head_dim]
};

}  // namespace chunkllm
