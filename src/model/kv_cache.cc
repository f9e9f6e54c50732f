#include "model/kv_cache.h"

#include <algorithm>
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

KvCache::KvCache(const ModelConfig& config, int64_t capacity, KvType type, const KvStorage& storage)
    : n_layers_(config.n_layers),
      n_kv_heads_(config.n_kv_heads),
      head_dim_(config.head_dim),
      capacity_(capacity),
      type_(type) {
  const auto n_bytes = static_cast<size_t>(capacity * kv_bytes_per_position(config, type));
  if (storage.in_file()) {
    file_ = std::make_unique<FileBackedMemory>(n_bytes, storage.folder, storage.resident_bytes);
  } else {
    buffer_ = ReservedBuffer(n_bytes);
  }
}

int64_t KvCache::bytes_per_position() const { return n_layers_ * 2 * n_kv_heads_ * row_bytes(); }

KvLayerView KvCache::layer(int64_t layer) const {
  return {.keys = data() + offset(layer, false, 0, 0),
          .values = data() + offset(layer, true, 0, 0),
          .type = type_,
          .n_kv_heads = n_kv_heads_,
          .capacity = capacity_,
          .head_dim = head_dim_,
          .row_step = row_step()};
}

std::span<const std::byte> KvCache::rows(int64_t layer, bool values, int64_t head, int64_t n_rows,
                                         std::vector<std::byte>& space) const {
  const std::byte* from = data() + offset(layer, values, head, 0);
  const auto size = static_cast<size_t>(row_bytes());
  if (!file_) return {from, static_cast<size_t>(n_rows) * size};
  file_->begin_use();
  will_use(layer, {0, n_rows});
  space.resize(static_cast<size_t>(n_rows) * size);
  for (std::byte* to = space.data(); n_rows > 0; --n_rows, to += size) {
    std::memcpy(to, from, size);
    from += row_step() * row_bytes();
  }
  return space;
}

void KvCache::will_use(int64_t layer, Range rows) const {
  file_->will_use({offset(layer, false, 0, rows.begin), offset(layer, false, 0, rows.end)});
}

void KvCache::will_read(int64_t layer, std::span<const AttentionSpan> spans) {
  if (!file_) return;
  file_->begin_use();
  // Neighbouring spans share most of their rows: each is said once.
  merged_.clear();
  for (const AttentionSpan& span : spans) {
    merged_.insert(merged_.end(), span.rows.begin(), span.rows.end());
  }
  std::ranges::sort(merged_, {}, &Range::begin);
  std::vector<Range> rows;
  for (const Range& next : merged_) append_merged(rows, next);
  for (const Range& range : rows) will_use(layer, range);
}

int64_t KvCache::resident_bytes(int64_t n_rows) const {
  const int64_t stored = n_rows * bytes_per_position();
  return file_ ? std::min(file_->resident_bytes(), stored) : stored;  // pages are whole
}

void KvCache::set_rows(int64_t layer, bool values, int64_t head, std::span<const std::byte> bytes) {
  const auto size = static_cast<size_t>(row_bytes());
  if (bytes.size() % size != 0 || bytes.size() / size > static_cast<size_t>(capacity_)) {
    fail(ErrorCode::kInvalidArgument, "{} bytes are not rows of {} for the KV cache's {} positions",
         bytes.size(), size, capacity_);
  }
  std::byte* to = data() + offset(layer, values, head, 0);
  if (!file_) {
    std::memcpy(to, bytes.data(), bytes.size());
    return;
  }
  file_->begin_use();
  will_use(layer, {0, std::ssize(bytes) / row_bytes()});
  for (; !bytes.empty(); bytes = bytes.subspan(size)) {
    std::memcpy(to, bytes.data(), size);
    to += row_step() * row_bytes();
  }
}

void KvCache::store(int64_t layer, int64_t first_position, int64_t n_tokens, const float* k,
                    const float* v, int64_t row_stride) {
  if (first_position < 0 || first_position + n_tokens > capacity_) {
    fail(ErrorCode::kInvalidArgument,
         "position {} is beyond the KV cache's {} rows; use a larger --ctx",
         first_position + n_tokens - 1, capacity_);
  }
  if (file_) will_use(layer, {first_position, first_position + n_tokens});
  for (const bool values : {false, true}) {
    const float* from = values ? v : k;
    if (file_) {
      for (int64_t t = 0; t < n_tokens; ++t) {
        round_kv_rows(type_, from + t * row_stride, head_dim_, n_kv_heads_, head_dim_,
                      data() + offset(layer, values, 0, first_position + t));
      }
      continue;
    }
    for (int64_t h = 0; h < n_kv_heads_; ++h) {
      round_kv_rows(type_, from + h * head_dim_, row_stride, n_tokens, head_dim_,
                    data() + offset(layer, values, h, first_position));
    }
  }
}

}  // namespace chunkllm
