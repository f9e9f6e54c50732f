// Caches, queries and spans that the attention tests share.
#pragma once

#include <fmt/format.h>
#include <omp.h>

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <numeric>
#include <string>
#include <vector>

#include "base/bf16.h"
#include "base/random.h"
#include "kernels/attention.h"

namespace chunkllm::test {

struct AttentionShape {
  int64_t n_heads = 4;
  int64_t n_kv_heads = 2;
  int64_t head_dim = 64;
  KvType type = KvType::kF32;
};

inline std::vector<AttentionShape> all_shapes() {
  std::vector<AttentionShape> shapes;
  for (const KvType type : {KvType::kF32, KvType::kBf16}) {
    for (const int64_t group : {1, 2, 3, 4, 8}) shapes.push_back({2 * group, 2, 32, type});
    for (const int64_t head_dim : {8, 40, 48, 64, 96, 128, 256})
      shapes.push_back({4, 2, head_dim, type});
    shapes.push_back({9, 3, 24, type});
    shapes.push_back({5, 1, 64, type});
  }
  return shapes;
}

inline std::string describe(const AttentionShape& shape) {
  return fmt::format("{} heads, {} KV heads, head_dim {}, {}", shape.n_heads, shape.n_kv_heads,
                     shape.head_dim, shape.type == KvType::kF32 ? "f32" : "bf16");
}

// Rows exactly as many as the cache holds, so that a sanitizer sees reads past the last.
class RandomCache {
 public:
  RandomCache(const AttentionShape& shape, int64_t n_rows, uint64_t seed, float magnitude = 1.0f)
      : shape_(shape), n_rows_(n_rows) {
    Rng rng(seed);
    for (int64_t i = 0; i < shape.n_kv_heads * n_rows * shape.head_dim; ++i) {
      push(keys_, magnitude * static_cast<float>(rng.normal()));
      push(values_, static_cast<float>(rng.normal() + 0.5));
    }
  }

  KvLayerView view() const {
    KvLayerView kv;
    kv.type = shape_.type;
    kv.keys = shape_.type == KvType::kF32 ? static_cast<const void*>(keys_.f32.data())
                                          : static_cast<const void*>(keys_.bf16.data());
    kv.values = shape_.type == KvType::kF32 ? static_cast<const void*>(values_.f32.data())
                                            : static_cast<const void*>(values_.bf16.data());
    kv.n_kv_heads = shape_.n_kv_heads;
    kv.capacity = n_rows_;
    kv.head_dim = shape_.head_dim;
    return kv;
  }

  void set_key(int64_t kv_head, int64_t row, int64_t i, float value) {
    set(keys_, (kv_head * n_rows_ + row) * shape_.head_dim + i, value);
  }
  void set_value(int64_t kv_head, int64_t row, int64_t i, float value) {
    set(values_, (kv_head * n_rows_ + row) * shape_.head_dim + i, value);
  }

  // The largest norm of a key.
  double key_norm() const {
    double largest = 0;
    for (int64_t row = 0; row < shape_.n_kv_heads * n_rows_; ++row) {
      double square = 0;
      for (int64_t i = 0; i < shape_.head_dim; ++i) {
        const auto at = static_cast<size_t>(row * shape_.head_dim + i);
        const double x = shape_.type == KvType::kF32 ? keys_.f32[at] : to_float(keys_.bf16[at]);
        square += x * x;
      }
      largest = std::max(largest, square);
    }
    return std::sqrt(largest);
  }

 private:
  struct Rows {
    std::vector<float> f32;
    std::vector<Bf16> bf16;
  };
  void push(Rows& rows, float value) {
    if (shape_.type == KvType::kF32) {
      rows.f32.push_back(value);
    } else {
      rows.bf16.push_back(to_bf16(value));
    }
  }
  void set(Rows& rows, int64_t at, float value) {
    if (shape_.type == KvType::kF32) {
      rows.f32[static_cast<size_t>(at)] = value;
    } else {
      rows.bf16[static_cast<size_t>(at)] = to_bf16(value);
    }
  }

  AttentionShape shape_;
  int64_t n_rows_;
  Rows keys_;
  Rows values_;
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
  explicit Threads(int n) : before_(omp_get_max_threads()) { omp_set_num_threads(n); }
  ~Threads() { omp_set_num_threads(before_); }
  Threads(const Threads&) = delete;
  Threads& operator=(const Threads&) = delete;

 private:
  int before_;
};

}  // namespace chunkllm::test
