// Caches, queries and spans that the attention tests share.
#pragma once

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <numeric>
#include <string>
#include <vector>

#include "base/bf16.h"
#include "base/half.h"
#include "base/random.h"
#include "base/threads.h"
#include "kernels/attention/attention.h"
#include "kernels/attention/ref.h"

namespace chunkllm::test {

inline constexpr std::array kAllKvTypes{KvType::kF32, KvType::kBf16, KvType::kF16, KvType::kQ8_0};

struct AttentionShape {
  int64_t n_heads = 4;
  int64_t n_kv_heads = 2;
  int64_t head_dim = 64;
  KvType type = KvType::kF32;
  bool side_by_side = false;  // the rows of a position, and a row that belongs to no head
};

inline std::vector<AttentionShape> all_shapes() {
  std::vector<AttentionShape> shapes;
  for (const KvType type : kAllKvTypes) {
    for (const int64_t group : {1, 2, 3, 4, 8}) shapes.push_back({2 * group, 2, 32, type});
    for (const int64_t head_dim : {8, 40, 48, 64, 96, 128, 256}) {
      if (kv_type_fits(type, head_dim)) shapes.push_back({4, 2, head_dim, type});
    }
    if (kv_type_fits(type, 24)) shapes.push_back({9, 3, 24, type});
    shapes.push_back({5, 1, 64, type});
    for (const int64_t group : {1, 3, 7}) shapes.push_back({2 * group, 2, 64, type, true});
    shapes.push_back({6, 3, kv_type_fits(type, 24) ? 24 : 32, type, true});
  }
  return shapes;
}

inline std::string describe(const AttentionShape& shape) {
  constexpr std::array kNames{"f32", "bf16", "f16", "q8_0"};
  return fmt::format("{} heads, {} KV heads, head_dim {}, {}{}", shape.n_heads, shape.n_kv_heads,
                     shape.head_dim, kNames[static_cast<size_t>(shape.type)],
                     shape.side_by_side ? ", heads side by side" : "");
}

// Rows exactly as many as the cache holds, so that a sanitizer sees reads past the last. But for
// float32 their elements are bf16 numbers, so that kernels need not round them: scales of q8_0 are
// powers of two.
class RandomCache {
 public:
  RandomCache(const AttentionShape& shape, int64_t n_rows, uint64_t seed, float magnitude = 1.0f)
      : shape_(shape), n_rows_(n_rows) {
    Rng rng(seed);
    const int64_t n_cached = view().row_of(shape.n_kv_heads - 1, n_rows - 1) + 1;
    const auto n_bytes = static_cast<size_t>(n_cached * kv_row_bytes(shape.type, shape.head_dim));
    keys_.resize(n_bytes);
    values_.resize(n_bytes);
    for (int64_t row = 0; row < n_cached; ++row) {
      for (int64_t i = 0; i < shape.head_dim; ++i) {
        set(keys_, row, i, magnitude * static_cast<float>(rng.normal()));
        set(values_, row, i, static_cast<float>(rng.normal() + 0.5));
      }
    }
  }

  KvLayerView view() const {
    KvLayerView kv;
    kv.type = shape_.type;
    kv.keys = keys_.data();
    kv.values = values_.data();
    kv.n_kv_heads = shape_.n_kv_heads;
    kv.capacity = n_rows_;
    kv.head_dim = shape_.head_dim;
    if (shape_.side_by_side) kv.row_step = shape_.n_kv_heads + 1;
    return kv;
  }

  // For q8_0 a value is rounded to units of its block's scale; one that is not finite becomes the
  // scale, and so hits the whole block.
  void set_key(int64_t kv_head, int64_t row, int64_t i, float value) {
    set(keys_, view().row_of(kv_head, row), i, value);
  }
  void set_value(int64_t kv_head, int64_t row, int64_t i, float value) {
    set(values_, view().row_of(kv_head, row), i, value);
  }

  // The largest norm of a key.
  double key_norm() const {
    double largest = 0;
    for (int64_t row = 0; row < shape_.n_kv_heads * n_rows_; ++row) {
      double square = 0;
      for (int64_t i = 0; i < shape_.head_dim; ++i) {
        const double x = ref::cached(view(), keys_.data(), row / n_rows_, row % n_rows_, i);
        square += x * x;
      }
      largest = std::max(largest, square);
    }
    return std::sqrt(largest);
  }

 private:
  void set(std::vector<std::byte>& rows, int64_t row, int64_t i, float value) const {
    void* to = rows.data() + row * kv_row_bytes(shape_.type, shape_.head_dim);
    switch (shape_.type) {
      case KvType::kF32:
        static_cast<float*>(to)[i] = value;
        break;
      case KvType::kBf16:
        static_cast<Bf16*>(to)[i] = to_bf16(value);
        break;
      case KvType::kF16:
        static_cast<uint16_t*>(to)[i] = float_to_half(to_float(to_bf16(value)));
        break;
      case KvType::kQ8_0: {
        BlockQ8_0& block = static_cast<BlockQ8_0*>(to)[i / kSmallBlock];
        // The block's first element sets the scale, some power of two.
        if (i % kSmallBlock == 0) {
          block.d = float_to_half(std::exp2(std::round(std::log2(1.0f + std::abs(value))) - 5.0f));
        }
        if (!std::isfinite(value)) block.d = float_to_half(value);
        const float units = value / half_to_float(block.d);
        block.q[static_cast<size_t>(i % kSmallBlock)] = static_cast<int8_t>(
            std::isfinite(units) ? std::clamp(std::round(units), -127.0f, 127.0f) : 1.0f);
        break;
      }
    }
  }

  AttentionShape shape_;
  int64_t n_rows_;
  std::vector<std::byte> keys_;
  std::vector<std::byte> values_;
};

// RandomQueries for the positions [first, first + n_tokens), with some floats between tokens. For a
// cache that is not float32 their elements are bf16 numbers, so that kernels need not round them.
class RandomQueries {
 public:
  RandomQueries(const AttentionShape& shape, int64_t first, int64_t n_tokens, uint64_t seed)
      : shape_(shape),
        first_(first),
        n_tokens_(n_tokens),
        stride_(shape.n_heads * shape.head_dim + 5) {
    Rng rng(seed);
    for (int64_t i = 0; i < n_tokens * stride_; ++i) {
      const auto value = static_cast<float>(rng.normal());
      q_.push_back(shape.type == KvType::kF32 ? value : to_float(to_bf16(value)));
    }
  }

  float* data() { return q_.data(); }
  int64_t stride() const { return stride_; }

  // The tokens [begin, end) of these, without outputs.
  AttentionBlock block(int64_t begin, int64_t end) const {
    AttentionBlock block;
    block.q = q_.data() + begin * stride_;
    block.q_stride = stride_;
    block.first_position = first_ + begin;
    block.n_tokens = end - begin;
    block.n_heads = shape_.n_heads;
    block.scale = 1.0f / std::sqrt(static_cast<float>(shape_.head_dim));
    return block;
  }
  AttentionBlock block() const { return block(0, n_tokens_); }

  // The largest norm of a head's query.
  double norm() const {
    double largest = 0;
    for (int64_t token = 0; token < n_tokens_; ++token) {
      for (int64_t head = 0; head < shape_.n_heads; ++head) {
        const auto begin = q_.begin() + token * stride_ + head * shape_.head_dim;
        largest = std::max(largest, std::inner_product(begin, begin + shape_.head_dim, begin, 0.0));
      }
    }
    return std::sqrt(largest);
  }

 private:
  AttentionShape shape_;
  int64_t first_;
  int64_t n_tokens_;
  int64_t stride_;
  std::vector<float> q_;
};

inline std::vector<AttentionSpan> dense(int64_t first, int64_t n_tokens) {
  return {{{first, first + n_tokens}, {{0, first + n_tokens}}}};
}

// Sets the number of threads for a scope.
class Threads {
 public:
  explicit Threads(int n) : before_(current_threads()) { set_threads(n); }
  ~Threads() { set_threads(before_); }
  Threads(const Threads&) = delete;
  Threads& operator=(const Threads&) = delete;

 private:
  int before_;
};

}  // namespace chunkllm::test
