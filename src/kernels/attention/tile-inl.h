// Pieces that the tile kernels share: packing, the two products, the exponential.
//
// Queries lie across the vector lanes: a panel holds kMaxPanel vectors of (token, head) columns,
// and a score tile is [rows, columns]. Keys and values then enter both products as broadcast
// scalars in the very order in which they are cached, so nothing is transposed but the queries
// (once), and the maximum and the sum of the softmax run down the rows without crossing lanes.

#if defined(CHUNKLLM_KERNELS_ATTENTION_TILE_INL_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef CHUNKLLM_KERNELS_ATTENTION_TILE_INL_H_
#undef CHUNKLLM_KERNELS_ATTENTION_TILE_INL_H_
#else
#define CHUNKLLM_KERNELS_ATTENTION_TILE_INL_H_
#endif

#include <hwy/cache_control.h>
#include <hwy/highway.h>

#include <cstdint>
#include <cstring>
#include <limits>

#include "base/half.h"
#include "base/quant/blocks.h"
#include "kernels/attention/kernels.h"

HWY_BEFORE_NAMESPACE();
namespace chunkllm {
namespace HWY_NAMESPACE {

namespace hn = hwy::HWY_NAMESPACE;

using FloatTag = hn::ScalableTag<float>;
using FloatVec = hn::Vec<FloatTag>;
using IntTag = hn::RebindToSigned<FloatTag>;

inline constexpr int kLanes = HWY_LANES(float);
// Accumulators of the products: up to kMaxPanel vectors by as many scalars as the registers hold,
// eight sums at least, or one would wait for the other.
inline constexpr int kMaxPanel = 3;
inline constexpr int kMostScalars = 8;
constexpr int scalars_by(int width) { return kLanes == 16 || width == 1 ? kMostScalars : 4; }

// 2^x for x <= 127, and 0 below -125.5: results are never subnormal, which would be slow. NaN stays
// NaN. Relative error below 3e-7: a polynomial of degree 5 for 2^(f + 1), f in [-1/2, 1/2],
// (error 1.1e-7), evaluated in float32.
HWY_INLINE FloatVec exp2_flushed(FloatVec x) {
  const FloatTag d;
  const hn::RebindToUnsigned<FloatTag> du;
  const auto lowest = hn::Set(d, -126.0f);
  x = hn::IfThenElse(hn::Lt(x, lowest), lowest, x);
  // Adding 1.5 * 2^23 leaves round(x) in the low bits; 126 more make it the exponent of 2^(round(x)
  // - 1).
  const auto shifter = hn::Set(d, 12582912.0f + 126.0f);
  const auto shifted = hn::Add(x, shifter);
  const auto f = hn::Sub(x, hn::Sub(shifted, shifter));
  const auto power = hn::BitCast(d, hn::ShiftLeft<23>(hn::BitCast(du, shifted)));
  auto y = hn::Set(d, 0.0026529484894126654f);
  y = hn::MulAdd(y, f, hn::Set(d, 0.01934303529560566f));
  y = hn::MulAdd(y, f, hn::Set(d, 0.11101467162370682f));
  y = hn::MulAdd(y, f, hn::Set(d, 0.48044484853744507f));
  y = hn::MulAdd(y, f, hn::Set(d, 1.3862940073013306f));
  y = hn::MulAdd(y, f, hn::Set(d, 2.0f));
  return hn::Mul(y, power);
}

// Loads one vector of cached elements as float32; exact.
template <class D>
HWY_INLINE hn::Vec<D> load_widened(D d, const float* from) {
  return hn::LoadU(d, from);
}
template <class D>
HWY_INLINE hn::Vec<D> load_widened(D d, const uint16_t* from) {
  const hn::RebindToUnsigned<D> du32;
  const hn::Rebind<uint16_t, D> du16;
  return hn::BitCast(d, hn::ShiftLeft<16>(hn::PromoteTo(du32, hn::LoadU(du16, from))));
}

template <class D>
HWY_INLINE hn::Vec<D> load_widened(D d, const hwy::float16_t* from) {
#if HWY_TARGET == HWY_SCALAR || HWY_TARGET == HWY_EMU128  // whose own ignores infinity and NaN
  HWY_ALIGN float widened[4] = {};
  for (size_t i = 0; i < hn::Lanes(d); ++i) {
    uint16_t bits = 0;
    std::memcpy(&bits, from + i, sizeof(bits));
    widened[i] = half_to_float(bits);
  }
  return hn::Load(d, widened);
#else
  const hn::Rebind<hwy::float16_t, D> d16;
  return hn::PromoteTo(d, hn::LoadU(d16, from));
#endif
}

// Elements from one position's row to the next: BlockQ8_0 holds 32 numbers.
template <class Element>
HWY_INLINE int64_t step_of(const KvHeadView& kv) {
  return kv.step_bytes / static_cast<int64_t>(sizeof(Element));
}

// Lanes of d from number i of a row on, i a multiple of their number; exact.
template <class D, class Element>
HWY_INLINE hn::Vec<D> load_at(D d, const Element* row, int64_t i) {
  return load_widened(d, row + i);
}
template <class D>
HWY_INLINE hn::Vec<D> load_at(D d, const BlockQ8_0* row, int64_t i) {
  const BlockQ8_0& block = row[i / kSmallBlock];
  const hn::Rebind<int8_t, D> d8;
  const auto numbers =
      hn::PromoteTo(hn::RebindToSigned<D>(), hn::LoadU(d8, block.q.data() + i % kSmallBlock));
#if HWY_TARGET == HWY_SCALAR || HWY_TARGET == HWY_EMU128  // as above
  const auto scale = hn::Set(d, half_to_float(block.d));
#else
  const hn::Rebind<hwy::float16_t, D> d16;
  const auto halves = hn::Set(hn::Rebind<uint16_t, D>(), block.d);
  const auto scale = hn::PromoteTo(d, hn::BitCast(d16, halves));
#endif
  return hn::Mul(hn::ConvertTo(d, numbers), scale);
}

// to [head_dim] = a cached row as float32; exact.
template <class Element>
HWY_INLINE void widen_row(const Element* HWY_RESTRICT row, int64_t head_dim,
                          float* HWY_RESTRICT to) {
  const hn::CappedTag<float, 8> d;  // head_dim is a multiple of 8
  const FloatTag df;
  const int64_t n_wide = head_dim - head_dim % kLanes;
  int64_t i = 0;
  for (; i < n_wide; i += kLanes) hn::StoreU(load_widened(df, row + i), df, to + i);
  for (; i < head_dim; i += static_cast<int64_t>(hn::Lanes(d))) {
    hn::StoreU(load_widened(d, row + i), d, to + i);
  }
}
HWY_INLINE void widen_row(const BlockQ8_0* HWY_RESTRICT row, int64_t head_dim,
                          float* HWY_RESTRICT to) {
  const FloatTag d;
  for (int64_t i = 0; i < head_dim; i += kLanes) hn::StoreU(load_at(d, row, i), d, to + i);
}

// Copies the tile's rows of `cache`, a position `step` elements after the one before, to `to`
// [kKvTileRows, head_dim] as float32. Repeats the last row up to a multiple of kMostScalars, so
// that products over whole blocks see only rows that are there.
template <class Element>
void pack_rows(const Element* HWY_RESTRICT cache, int64_t step, const RowTile& tile,
               int64_t head_dim, float* HWY_RESTRICT to) {
  const int n_padded =
      static_cast<int>(hwy::RoundUpTo(static_cast<size_t>(tile.n_rows), kMostScalars));
  for (int r = 0; r < n_padded; ++r) {
    const int64_t position = tile.positions[r < tile.n_rows ? r : tile.n_rows - 1];
    widen_row(cache + position * step, head_dim, to);
    to += head_dim;
  }
}

// Brings the rows of the tile after this one near while this one is worked on: a few rows' keys and
// values (if kValues) with each call of step(), spread over `n_steps` calls. Short ranges defeat
// the hardware's prefetcher.
template <bool kValues = true>
class RowPrefetcher {
 public:
  RowPrefetcher(const KvHeadView& kv, const RowTile& tile, int64_t n_steps)
      : keys_(static_cast<const char*>(kv.keys)),
        values_(static_cast<const char*>(kv.values)),
        tile_(tile),
        row_bytes_(kv_row_bytes(kv.type, kv.head_dim)),
        step_bytes_(kv.step_bytes),
        rows_per_step_(static_cast<int>((tile.n_rows + n_steps - 1) / n_steps)) {}

  HWY_INLINE void step() {
    const int end = HWY_MIN(next_ + rows_per_step_, tile_.n_rows);
    for (; next_ < end; ++next_) {
      const int64_t offset = tile_.positions[next_] * step_bytes_;
      for (int64_t i = 0; i < row_bytes_; i += 64) {
        hwy::Prefetch(keys_ + offset + i);
        if constexpr (kValues) hwy::Prefetch(values_ + offset + i);
      }
    }
  }

 private:
  const char* keys_;
  const char* values_;
  const RowTile& tile_;
  int64_t row_bytes_;
  int64_t step_bytes_;
  int rows_per_step_;
  int next_ = 0;
};

// The columns of a query tile cut into panels of nearly equal width. Panel p holds the vectors
// [first(p), first(p) + width(p)) of columns; column token * n_heads + head.
struct Panels {
  explicit Panels(int64_t n_columns_)
      : n_columns(n_columns_),
        n_vectors((n_columns_ + kLanes - 1) / kLanes),
        n_panels((n_vectors + kMaxPanel - 1) / kMaxPanel) {}

  int64_t n_columns;
  int64_t n_vectors;
  int64_t n_panels;

  int64_t first(int64_t p) const { return p * n_vectors / n_panels; }
  int64_t width(int64_t p) const { return first(p + 1) - first(p); }
  // Floats of one number a column, padding included.
  int64_t n_padded() const { return n_vectors * kLanes; }
};

#if HWY_TARGET == HWY_SCALAR
// Rows or columns that transpose() takes at a time.
inline constexpr int kTransposed = 1;
HWY_INLINE void transpose(const float* const* from, float* const* to) { *to[0] = *from[0]; }
#else
inline constexpr int kTransposed = 4;
// to[j][i] = from[i][j] for i, j < kTransposed.
HWY_INLINE void transpose(const float* const* from, float* const* to) {
  const hn::FixedTag<float, 4> d;
  const hn::Repartition<double, decltype(d)> dd;
  const auto a = hn::LoadU(d, from[0]);
  const auto b = hn::LoadU(d, from[1]);
  const auto c = hn::LoadU(d, from[2]);
  const auto e = hn::LoadU(d, from[3]);
  const auto ab_lower = hn::BitCast(dd, hn::InterleaveLower(d, a, b));
  const auto ab_upper = hn::BitCast(dd, hn::InterleaveUpper(d, a, b));
  const auto ce_lower = hn::BitCast(dd, hn::InterleaveLower(d, c, e));
  const auto ce_upper = hn::BitCast(dd, hn::InterleaveUpper(d, c, e));
  hn::StoreU(hn::BitCast(d, hn::InterleaveLower(dd, ab_lower, ce_lower)), d, to[0]);
  hn::StoreU(hn::BitCast(d, hn::InterleaveUpper(dd, ab_lower, ce_lower)), d, to[1]);
  hn::StoreU(hn::BitCast(d, hn::InterleaveLower(dd, ab_upper, ce_upper)), d, to[2]);
  hn::StoreU(hn::BitCast(d, hn::InterleaveUpper(dd, ab_upper, ce_upper)), d, to[3]);
}
#endif

// Multiplies x [n], n a multiple of 8.
inline void scale_by(float factor, int64_t n, float* HWY_RESTRICT x) {
  const hn::CappedTag<float, 8> d;
  const auto factors = hn::Set(d, factor);
  for (int64_t i = 0; i < n; i += static_cast<int64_t>(hn::Lanes(d))) {
    hn::StoreU(hn::Mul(hn::LoadU(d, x + i), factors), d, x + i);
  }
}

// Writes the queries, scaled, to `to`: panel p at to + head_dim * kLanes * first(p) is
// [head_dim, width(p) * kLanes]. Columns past the last repeat it.
inline void pack_queries(const QueryTile& query, int64_t head_dim, const Panels& panels,
                         float* HWY_RESTRICT to) {
  for (int64_t p = 0; p < panels.n_panels; ++p) {
    const int64_t stride = panels.width(p) * kLanes;
    float* HWY_RESTRICT panel = to + head_dim * kLanes * panels.first(p);
    for (int64_t lane = 0; lane < stride; lane += kTransposed) {
      const float* rows[kTransposed];
      for (int i = 0; i < kTransposed; ++i) {
        const int64_t c = HWY_MIN(panels.first(p) * kLanes + lane + i, panels.n_columns - 1);
        rows[i] = query.q + (c / query.n_heads) * query.q_stride + (c % query.n_heads) * head_dim;
      }
      for (int64_t k = 0; k < head_dim; k += kTransposed) {
        float* at[kTransposed];
        for (int i = 0; i < kTransposed; ++i) at[i] = panel + (k + i) * stride + lane;
        transpose(rows, at);
        for (const float*& row : rows) row += kTransposed;
      }
    }
    scale_by(query.scale, head_dim * stride, panel);
  }
}

// The core of both products: c[i, j] = keep[j] * c[i, j] + sum_{k < n} a[i * a_row + k * a_step]
// b[k, j] for scalars_by(kWidth) rows i and kWidth vectors j; without `keep` (null) c is only
// written. b [n, columns], c [rows, columns], keep [columns], columns = kWidth * kLanes. A function
// of its own, for inlined into its callers it would leave g++ 12 too few registers.
template <int kWidth>
HWY_NOINLINE void multiply_block(const float* HWY_RESTRICT a, int64_t a_row, int64_t a_step,
                                 const float* HWY_RESTRICT b, int64_t n,
                                 const float* HWY_RESTRICT keep, float* HWY_RESTRICT c) {
  static_assert(kMaxPanel == 3);
  constexpr int kRows = scalars_by(kWidth);
  const FloatTag d;
  FloatVec acc[kRows][kWidth];
  HWY_UNROLL(kMostScalars)
  for (int i = 0; i < kRows; ++i) {
    HWY_UNROLL(kMaxPanel)
    for (int j = 0; j < kWidth; ++j) acc[i][j] = hn::Zero(d);
  }
  for (int64_t k = 0; k < n; ++k, a += a_step, b += kWidth * kLanes) {
    // No array here: g++ 12 would keep it in memory.
    const FloatVec b0 = hn::Load(d, b);
    const FloatVec b1 = kWidth > 1 ? hn::Load(d, b + kLanes) : b0;
    const FloatVec b2 = kWidth > 2 ? hn::Load(d, b + 2 * kLanes) : b0;
    HWY_UNROLL(kMostScalars)
    for (int i = 0; i < kRows; ++i) {
      const FloatVec factor = hn::Set(d, a[i * a_row]);
      acc[i][0] = hn::MulAdd(factor, b0, acc[i][0]);
      if constexpr (kWidth > 1) acc[i][1] = hn::MulAdd(factor, b1, acc[i][1]);
      if constexpr (kWidth > 2) acc[i][2] = hn::MulAdd(factor, b2, acc[i][2]);
    }
  }
  HWY_UNROLL(kMostScalars)
  for (int i = 0; i < kRows; ++i) {
    HWY_UNROLL(kMaxPanel)
    for (int j = 0; j < kWidth; ++j) {
      float* HWY_RESTRICT at = c + (i * kWidth + j) * kLanes;
      if (keep != nullptr) {
        acc[i][j] = hn::MulAdd(hn::Load(d, at), hn::Load(d, keep + j * kLanes), acc[i][j]);
      }
      hn::Store(acc[i][j], d, at);
    }
  }
}

// scores[r, c] = sum_i keys[r, i] q[i, c] for r < n rounded up to scalars_by(width); `keys` [rows,
// head_dim] as pack_rows() leaves it, `q` [head_dim, width * kLanes], `scores` [rows, width *
// kLanes].
template <int kWidth, class Prefetcher>
HWY_INLINE void score_rows(const float* keys, int64_t head_dim, int n, const float* q,
                           float* scores, Prefetcher& prefetcher) {
  for (int r = 0; r < n; r += scalars_by(kWidth)) {
    prefetcher.step();
    multiply_block<kWidth>(keys + r * head_dim, head_dim, 1, q, head_dim, nullptr,
                           scores + r * kWidth * kLanes);
  }
}

// Puts -infinity where row positions[r] lies after the column's query, for the first n rows.
// `columns` [width * kLanes]: the queries' positions.
template <int kWidth>
void mask_future(const int32_t* HWY_RESTRICT positions, int n, const int32_t* HWY_RESTRICT columns,
                 float* HWY_RESTRICT scores) {
  const FloatTag d;
  const IntTag di;
  const auto nothing = hn::Set(d, -std::numeric_limits<float>::infinity());
  for (int r = 0; r < n; ++r) {
    if (positions[r] <= columns[0]) continue;
    const auto row = hn::Set(di, positions[r]);
    for (int j = 0; j < kWidth; ++j) {
      float* HWY_RESTRICT at = scores + (r * kWidth + j) * kLanes;
      const auto future = hn::RebindMask(d, hn::Gt(row, hn::Load(di, columns + j * kLanes)));
      hn::Store(hn::IfThenElse(future, nothing, hn::Load(d, at)), d, at);
    }
  }
}

// out[i, c] = out[i, c] * keep[c] + sum_r weights[r, c] values[r, i] over n rows; `out`
// [head_dim, width * kLanes], `weights` [n, width * kLanes], `values` [n, head_dim]. Summing the
// tile before adding it keeps the rounding error of long contexts small.
template <int kWidth, class Prefetcher>
HWY_INLINE void add_values(const float* values, int64_t head_dim, int n, const float* weights,
                           const float* keep, float* out, Prefetcher& prefetcher) {
  for (int64_t i = 0; i < head_dim; i += scalars_by(kWidth)) {
    prefetcher.step();
    multiply_block<kWidth>(values + i, 1, head_dim, weights, n, keep, out + i * kWidth * kLanes);
  }
}

}  // namespace HWY_NAMESPACE
}  // namespace chunkllm
HWY_AFTER_NAMESPACE();

#endif  // per-target include guard
