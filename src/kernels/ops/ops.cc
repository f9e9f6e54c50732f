#include "kernels/ops/ops.h"

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <type_traits>

#include "base/thread_pool.h"
#include "kernels/machine/isa.h"

// Highway includes this file once a target; the order is its own.
// clang-format off
#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "kernels/ops/ops.cc"
#include <hwy/foreach_target.h>
#include <hwy/highway.h>
#include <hwy/contrib/math/math-inl.h>
#include "kernels/ops/bf16-inl.h"
// clang-format on

HWY_BEFORE_NAMESPACE();
namespace chunkllm::HWY_NAMESPACE {
namespace {

namespace hn = hwy::HWY_NAMESPACE;

using FloatTag = hn::ScalableTag<float>;
using FloatVec = hn::Vec<FloatTag>;

// Calls body(d, i) for each full vector of [0, n) and then for each single element that is left: a
// masked load reads past the end of the array on targets without masks (HWY_MEM_OPS_MIGHT_FAULT).
template <typename Body>
HWY_INLINE void for_vectors(int64_t n, const Body& body) {
  const FloatTag d;
  const auto lanes = static_cast<int64_t>(hn::Lanes(d));
  int64_t i = 0;
  for (; i + lanes <= n; i += lanes) body(d, i);
  for (; i < n; ++i) body(hn::CappedTag<float, 1>(), i);
}

// Four accumulators hide the latency of the multiply-add.
HWY_INLINE float dot_product(const float* HWY_RESTRICT x, const float* HWY_RESTRICT y, int64_t n) {
  const FloatTag d;
  const auto lanes = static_cast<int64_t>(hn::Lanes(d));
  FloatVec sum0 = hn::Zero(d);
  FloatVec sum1 = hn::Zero(d);
  FloatVec sum2 = hn::Zero(d);
  FloatVec sum3 = hn::Zero(d);
  int64_t i = 0;
  for (; i + 4 * lanes <= n; i += 4 * lanes) {
    sum0 = hn::MulAdd(hn::LoadU(d, x + i), hn::LoadU(d, y + i), sum0);
    sum1 = hn::MulAdd(hn::LoadU(d, x + i + lanes), hn::LoadU(d, y + i + lanes), sum1);
    sum2 = hn::MulAdd(hn::LoadU(d, x + i + 2 * lanes), hn::LoadU(d, y + i + 2 * lanes), sum2);
    sum3 = hn::MulAdd(hn::LoadU(d, x + i + 3 * lanes), hn::LoadU(d, y + i + 3 * lanes), sum3);
  }
  for (; i + lanes <= n; i += lanes) {
    sum0 = hn::MulAdd(hn::LoadU(d, x + i), hn::LoadU(d, y + i), sum0);
  }
  const FloatVec sums = hn::Add(hn::Add(sum0, sum1), hn::Add(sum2, sum3));
  float sum = hn::GetLane(hn::SumOfLanes(d, sums));
  for (; i < n; ++i) sum += x[i] * y[i];
  return sum;
}

float dot_all(const float* x, const float* y, int64_t n) { return dot_product(x, y, n); }

// The columns [begin, end) of dot_rows(): so few rows of y that they stay in the first-level cache.
void dot_rows_tile(const float* x, int64_t n_x, const float* y, int64_t begin, int64_t end,
                   int64_t n, float scale, float* out, int64_t n_y) {
  for (int64_t i = 0; i < n_x; ++i) {
    for (int64_t j = begin; j < end; ++j) {
      out[i * n_y + j] = scale * dot_product(x + i * n, y + j * n, n);
    }
  }
}

// Highway's Exp takes any negative argument; a NaN becomes the least mass there is.
void mix_heads_all(const float* scores, int64_t n_heads, int64_t stride, const float* weight,
                   int64_t n, float* mass, float* out) {
  constexpr float kLeast = 1e-37f;
  for_vectors(n, [&](auto d, int64_t i) HWY_ATTR { hn::StoreU(hn::Zero(d), d, out + i); });
  for (int64_t h = 0; h < n_heads; ++h, scores += stride) {
    float greatest = -std::numeric_limits<float>::max();
    for (int64_t i = 0; i < n; ++i) greatest = std::max(greatest, scores[i]);
    const FloatTag all;
    FloatVec sums = hn::Zero(all);
    float sum = 0.0f;
    for_vectors(n, [&](auto d, int64_t i) HWY_ATTR {
      const auto score = hn::Sub(hn::LoadU(d, scores + i), hn::Set(d, greatest));
      const auto e = hn::IfThenElseZero(hn::Not(hn::IsNaN(score)), hn::Exp(d, score));
      hn::StoreU(e, d, mass + i);
      const auto weighted = hn::Mul(e, hn::LoadU(d, weight + i));
      if constexpr (std::is_same_v<decltype(d), FloatTag>) {
        sums = hn::Add(sums, weighted);
      } else {
        sum += hn::GetLane(weighted);
      }
    });
    sum += hn::GetLane(hn::SumOfLanes(all, sums));
    const float share = sum > 0 ? 1.0f / (static_cast<float>(n_heads) * sum) : 0.0f;
    for_vectors(n, [&](auto d, int64_t i) HWY_ATTR {
      const auto so_far = hn::LoadU(d, out + i);
      hn::StoreU(hn::MulAdd(hn::LoadU(d, mass + i), hn::Set(d, share), so_far), d, out + i);
    });
  }
  for_vectors(n, [&](auto d, int64_t i) HWY_ATTR {
    hn::StoreU(hn::Log(d, hn::Max(hn::LoadU(d, out + i), hn::Set(d, kLeast))), d, out + i);
  });
}

void rms_norm_rows(const float* x, const float* weight, int64_t n_rows, int64_t d_model,
                   float epsilon, float* y) {
  for (int64_t t = 0; t < n_rows; ++t, x += d_model, y += d_model) {
    const float mean_square = dot_product(x, x, d_model) / static_cast<float>(d_model);
    const float scale = 1.0f / std::sqrt(mean_square + epsilon);
    for_vectors(d_model, [&](auto d, int64_t i) HWY_ATTR {
      const auto normalised = hn::Mul(hn::LoadU(d, x + i), hn::Set(d, scale));
      hn::StoreU(hn::Mul(normalised, hn::LoadU(d, weight + i)), d, y + i);
    });
  }
}

void rms_norm_head_rows(float* x, const float* weight, int64_t n_rows, int64_t n_heads,
                        int64_t head_dim, int64_t row_stride, float epsilon) {
  for (int64_t t = 0; t < n_rows; ++t, x += row_stride) {
    rms_norm_rows(x, weight, n_heads, head_dim, epsilon, x);
  }
}

void rope_rotate_head(float* HWY_RESTRICT x, int64_t half, const float* HWY_RESTRICT cosines,
                      const float* HWY_RESTRICT sines) {
  for_vectors(half, [&](auto d, int64_t i) HWY_ATTR {
    const auto a = hn::LoadU(d, x + i);
    const auto b = hn::LoadU(d, x + half + i);
    const auto c = hn::LoadU(d, cosines + i);
    const auto s = hn::LoadU(d, sines + i);
    hn::StoreU(hn::NegMulAdd(b, s, hn::Mul(a, c)), d, x + i);
    hn::StoreU(hn::MulAdd(a, s, hn::Mul(b, c)), d, x + half + i);
  });
}

void rope_rotate_rows(float* x, int64_t n_rows, int64_t n_heads, int64_t head_dim,
                      int64_t row_stride, const float* cos_table, const float* sin_table) {
  const int64_t half = head_dim / 2;
  for (int64_t t = 0; t < n_rows; ++t) {
    for (int64_t h = 0; h < n_heads; ++h) {
      rope_rotate_head(x + t * row_stride + h * head_dim, half, cos_table + t * half,
                       sin_table + t * half);
    }
  }
}

// x / (1 + exp(-x)). Highway's Exp is valid up to 104 only; at -x = 88 the result is 0 to float32's
// precision relative to anything it is added to.
struct Silu {
  template <typename D>
  HWY_INLINE hn::Vec<D> operator()(D d, hn::Vec<D> x) const {
    const auto exponent = hn::Min(hn::Neg(x), hn::Set(d, 88.0f));
    return hn::Div(x, hn::Add(hn::Set(d, 1.0f), hn::Exp(d, exponent)));
  }
};

// x / 2 (1 + tanh(u)) = x / (1 + exp(-2 u)), u = sqrt(2 / pi) (x + 0.044715 x^3).
struct GeluTanh {
  template <typename D>
  HWY_INLINE hn::Vec<D> operator()(D d, hn::Vec<D> x) const {
    const auto inner = hn::MulAdd(hn::Mul(hn::Mul(x, x), x), hn::Set(d, 0.044715f), x);
    const auto exponent =
        hn::Min(hn::Mul(inner, hn::Set(d, -1.5957691216057308f)), hn::Set(d, 88.0f));
    return hn::Div(x, hn::Add(hn::Set(d, 1.0f), hn::Exp(d, exponent)));
  }
};

template <typename Activation>
HWY_INLINE void activate_mul_rows(const float* gate_up, int64_t n_rows, int64_t d_ff, float* y) {
  for (int64_t t = 0; t < n_rows; ++t, gate_up += 2 * d_ff, y += d_ff) {
    const float* up = gate_up + d_ff;
    for_vectors(d_ff, [&](auto d, int64_t i) HWY_ATTR {
      const auto gate = Activation()(d, hn::LoadU(d, gate_up + i));
      hn::StoreU(hn::Mul(gate, hn::LoadU(d, up + i)), d, y + i);
    });
  }
}

void silu_mul_rows(const float* gate_up, int64_t n_rows, int64_t d_ff, float* y) {
  activate_mul_rows<Silu>(gate_up, n_rows, d_ff, y);
}

void gelu_tanh_mul_rows(const float* gate_up, int64_t n_rows, int64_t d_ff, float* y) {
  activate_mul_rows<GeluTanh>(gate_up, n_rows, d_ff, y);
}

void add_to_all(const float* x, int64_t n, float* y) {
  for_vectors(n, [&](auto d, int64_t i) HWY_ATTR {
    hn::StoreU(hn::Add(hn::LoadU(d, y + i), hn::LoadU(d, x + i)), d, y + i);
  });
}

void round_to_bf16_all(const float* x, int64_t n, uint16_t* y) {
  for_vectors(n, [&](auto d, int64_t i) HWY_ATTR {
    const hn::Rebind<uint16_t, decltype(d)> d16;
    hn::StoreU(bf16_words(d, hn::LoadU(d, x + i)), d16, y + i);
  });
}

}  // namespace
}  // namespace chunkllm::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace chunkllm {
namespace {

HWY_EXPORT(dot_all);
HWY_EXPORT(dot_rows_tile);
HWY_EXPORT(mix_heads_all);
HWY_EXPORT(rms_norm_rows);
HWY_EXPORT(rms_norm_head_rows);
HWY_EXPORT(rope_rotate_rows);
HWY_EXPORT(silu_mul_rows);
HWY_EXPORT(gelu_tanh_mul_rows);
HWY_EXPORT(add_to_all);
HWY_EXPORT(round_to_bf16_all);

// Below this many elements other threads cost more than they save.
constexpr int64_t kMinParallelElements = 32768;
constexpr int64_t kPieceElements = 16384;  // some 10 microseconds

// Calls body(begin, end) for the parts of [0, n); n_elements is the size of it all.
template <typename Body>
void share(int64_t n, int64_t n_elements, const Body& body) {
  const int64_t grain =
      n_elements < kMinParallelElements ? n : std::max<int64_t>(n * kPieceElements / n_elements, 1);
  parallel_for(n, grain, [&](int64_t begin, int64_t end, int) { body(begin, end); });
}

}  // namespace

void rms_norm(const float* x, const float* weight, int64_t n_tokens, int64_t d_model, float epsilon,
              float* y) {
  active_isa();
  const auto kernel = HWY_DYNAMIC_DISPATCH(rms_norm_rows);
  share(n_tokens, n_tokens * d_model, [&](int64_t begin, int64_t end) {
    kernel(x + begin * d_model, weight, end - begin, d_model, epsilon, y + begin * d_model);
  });
}

void rms_norm_heads(float* x, const float* weight, int64_t n_tokens, int64_t n_heads,
                    int64_t head_dim, int64_t row_stride, float epsilon) {
  active_isa();
  const auto kernel = HWY_DYNAMIC_DISPATCH(rms_norm_head_rows);
  share(n_tokens, n_tokens * n_heads * head_dim, [&](int64_t begin, int64_t end) {
    kernel(x + begin * row_stride, weight, end - begin, n_heads, head_dim, row_stride, epsilon);
  });
}

void rope_table(int64_t first_position, int64_t n_tokens, const float* inverse_frequencies,
                int64_t head_dim, float scale, float* cos_table, float* sin_table) {
  const int64_t half = head_dim / 2;
  // The C library's functions: angles reach 1e6, beyond the range of the usual vectorised ones.
  constexpr int64_t kCost = 16;  // in elements of the cheap operations
  share(n_tokens, n_tokens * half * kCost, [&](int64_t begin, int64_t end) {
    for (int64_t t = begin; t < end; ++t) {
      const auto position = static_cast<float>(first_position + t);
      for (int64_t i = 0; i < half; ++i) {
        const float angle = position * inverse_frequencies[i];
        cos_table[t * half + i] = scale * std::cos(angle);
        sin_table[t * half + i] = scale * std::sin(angle);
      }
    }
  });
}

void rope_rotate(float* x, int64_t n_tokens, int64_t n_heads, int64_t head_dim, int64_t row_stride,
                 const float* cos_table, const float* sin_table) {
  active_isa();
  const int64_t half = head_dim / 2;
  const auto kernel = HWY_DYNAMIC_DISPATCH(rope_rotate_rows);
  share(n_tokens, n_tokens * n_heads * head_dim, [&](int64_t begin, int64_t end) {
    kernel(x + begin * row_stride, end - begin, n_heads, head_dim, row_stride,
           cos_table + begin * half, sin_table + begin * half);
  });
}

void silu_mul(const float* gate_up, int64_t n_tokens, int64_t d_ff, float* y) {
  active_isa();
  const auto kernel = HWY_DYNAMIC_DISPATCH(silu_mul_rows);
  share(n_tokens, 2 * n_tokens * d_ff, [&](int64_t begin, int64_t end) {
    kernel(gate_up + begin * 2 * d_ff, end - begin, d_ff, y + begin * d_ff);
  });
}

void gelu_tanh_mul(const float* gate_up, int64_t n_tokens, int64_t d_ff, float* y) {
  active_isa();
  const auto kernel = HWY_DYNAMIC_DISPATCH(gelu_tanh_mul_rows);
  share(n_tokens, 2 * n_tokens * d_ff, [&](int64_t begin, int64_t end) {
    kernel(gate_up + begin * 2 * d_ff, end - begin, d_ff, y + begin * d_ff);
  });
}

void add_to(const float* x, int64_t n, float* y) {
  active_isa();
  const auto kernel = HWY_DYNAMIC_DISPATCH(add_to_all);
  share(n, n, [&](int64_t begin, int64_t end) { kernel(x + begin, end - begin, y + begin); });
}

void add_to_rows(const float* x, int64_t n_tokens, int64_t n, float* y) {
  active_isa();
  const auto kernel = HWY_DYNAMIC_DISPATCH(add_to_all);
  share(n_tokens, n_tokens * n, [&](int64_t begin, int64_t end) {
    for (int64_t t = begin; t < end; ++t) kernel(x, n, y + t * n);
  });
}

float dot(const float* x, const float* y, int64_t n) {
  active_isa();
  return HWY_DYNAMIC_DISPATCH(dot_all)(x, y, n);
}

void dot_rows(const float* x, int64_t n_x, const float* y, int64_t n_y, int64_t n, float scale,
              float* out) {
  active_isa();
  constexpr int64_t kTileElements = 6144;  // 24 KiB
  const int64_t tile_rows = std::max<int64_t>(1, kTileElements / std::max<int64_t>(n, 1));
  const int64_t n_tiles = (n_y + tile_rows - 1) / tile_rows;
  const auto kernel = HWY_DYNAMIC_DISPATCH(dot_rows_tile);
  share(n_tiles, n_x * n_y * n, [&](int64_t first, int64_t end) {
    for (int64_t tile = first; tile < end; ++tile) {
      const int64_t begin = tile * tile_rows;
      kernel(x, n_x, y, begin, std::min(n_y, begin + tile_rows), n, scale, out, n_y);
    }
  });
}

void mix_heads(const float* scores, int64_t n_heads, int64_t stride, const float* weight, int64_t n,
               float* work, float* out) {
  active_isa();
  HWY_DYNAMIC_DISPATCH(mix_heads_all)(scores, n_heads, stride, weight, n, work, out);
}

void round_to_bf16(const float* x, int64_t n, uint16_t* y) {
  active_isa();
  const auto kernel = HWY_DYNAMIC_DISPATCH(round_to_bf16_all);
  share(n, n, [&](int64_t begin, int64_t end) { kernel(x + begin, end - begin, y + begin); });
}

}  // namespace chunkllm
#endif  // HWY_ONCE
