#include "model/kv_cache.h"

#include <cstring>

#include "base/error.h"
#include "kernels/attention/kv_rows.h"

namespace chunkllm {

int64_t kv_bytes_per_position(const ModelConfig& config, KvType type) {
  if (!kv_type_fits(type, config.head_dim)) {
    fail(
        ErrorCode::kInvalidArgument,
        "a KV cache of q8_0 needs a head_dim that is a multiple of {}; this model has {}, use bf16",
        kSmallBlock, config.head_dim);
  }
  return config.n_layers * 2 * config.n_kv_heads * kv_row_bytes(type, config.head_dim);
}

KvCache::KvCache(const ModelConfig& config, int64_t capacity, KvType type)
    : n_layers_(config.n_layers),
      n_kv_heads_(config.n_kv_heads),
      head_dim_(config.head_dim),
      capacity_(capacity),
      type_(type),
      buffer_(static_cast<size_t>(capacity * kv_bytes_per_position(config, type))) {}

int64_t KvCache::bytes_per_position() const { return n_layers_ * 2 * n_kv_heads_ * row_bytes(); }

KvLayerView KvCache::layer(int64_t layer) const {
  const int64_t half_bytes = n_kv_heads_ * capacity_ * row_bytes();
  const std::byte* keys = buffer_.data() + layer * 2 * half_bytes;
  return {.keys = keys,
          .values = keys + half_bytes,
          .type = type_,
          .n_kv_heads = n_kv_heads_,
          .capacity = capacity_,
          .head_dim = head_dim_};
}

std::span<const std::byte> KvCache::rows(int64_t layer, bool values, int64_t head,
                                         int64_t n_rows) const {
  const KvLayerView view = this->layer(layer);
  const auto* begin = static_cast<const std::byte*>(values ? view.values : view.keys);
  return {begin + head * capacity_ * row_bytes(), static_cast<size_t>(n_rows * row_bytes())};
}

void KvCache::set_rows(int64_t layer, bool values, int64_t head, std::span<const std::byte> bytes) {
  const auto size = static_cast<size_t>(row_bytes());
  if (bytes.size() % size != 0 || bytes.size() / size > static_cast<size_t>(capacity_)) {
    fail(ErrorCode::kInvalidArgument, "{} bytes are not rows of {} for the KV cache's {} positions",
         bytes.size(), size, capacity_);
  }
  // The buffer is this object's own; views are read-only for everybody else.
  auto* target = const_cast<std::byte*>(rows(layer, values, head, 0).data());
  std::memcpy(target, bytes.data(), bytes.size());
}

void KvCache::store(int64_t layer, int64_t first_position, int64_t n_tokens, const float* k,
                    const float* v, int64_t row_stride) {
  if (first_position < 0 || first_position + n_tokens > capacity_) {
    fail(ErrorCode::kInvalidArgument,
         "position {} is beyond the KV cache's {} rows; use a larger --ctx",
         first_position + n_tokens - 1, capacity_);
  }
  const KvLayerView view = this->layer(layer);
  for (const auto& [source, target] : {std::pair{k, view.keys}, std::pair{v, view.values}}) {
    // The buffer is this object's own; views are read-only for everybody else.
    auto* rows = static_cast<std::byte*>(const_cast<void*>(target));
    for (int64_t h = 0; h < n_kv_heads_; ++h) {
      round_kv_rows(type_, source + h * head_dim_, row_stride, n_tokens, head_dim_,
                    rows + (h * capacity_ + first_position) * row_bytes());
    }
  }
}

}  // namespace chunkllm
