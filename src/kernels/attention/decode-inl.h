// Attention of one query token, or a few. The cache is read straight from where it lies, for a few
// of the heads that share the KV head at a time. Here head_dim lies across the vector lanes, but
// for heads that fill vectors of eight themselves, or nearly: those are a tile, where a column's
// sums do not depend on the others either.

#if defined(CHUNKLLM_KERNELS_ATTENTION_DECODE_INL_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef CHUNKLLM_KERNELS_ATTENTION_DECODE_INL_H_
#undef CHUNKLLM_KERNELS_ATTENTION_DECODE_INL_H_
#else
#define CHUNKLLM_KERNELS_ATTENTION_DECODE_INL_H_
#endif

#include <algorithm>
#include <limits>
#include <utility>

#include "kernels/attention/block-inl.h"

HWY_BEFORE_NAMESPACE();
namespace chunkllm {
namespace HWY_NAMESPACE {

// Heads, and vectors of head_dim, whose sums are kept in registers at a time.
inline constexpr int kMaxHeads = kLanes == 16 ? 4 : kLanes == 8 ? 3 : 2;
inline constexpr int kMaxStrip = kLanes >= 8 ? 4 : 2;
// Rows whose products with a head are summed across lanes together, and those of values after which
// more of the next tile is asked for.
inline constexpr int kKeyRows = 4;
inline constexpr int kValueRows = 16;

// From so many heads on a tile's vectors are full enough: it has no sums across lanes and reads
// each row once instead of once for every kMaxHeads.
inline constexpr int64_t kTileHeads = kLanes == 8 ? 7 : std::numeric_limits<int64_t>::max();

// Numbers of a row as the kernel sees it. Rows that are no whole number of vectors are widened to
// scratch and padded with zeros.
inline int64_t padded_head_dim(int64_t head_dim) {
  return static_cast<int64_t>(hwy::RoundUpTo(static_cast<size_t>(head_dim), kLanes));
}

// One token's query and state, and what its update needs.
struct TokenState {
  float* q;       // [n_heads, padded head_dim], scaled
  float* out;     // [n_heads, padded head_dim]
  float* max;     // [n_heads]
  float* sum;     // [n_heads]
  float* scores;  // [n_heads, kKvTileRows]
  float* keep;    // [n_heads]
};

struct TokenScratch {
  int64_t token_floats;  // from one token's state to the next
  TokenState first;      // that of the first token; scores and keep are for all
  float* keys;           // [kKvTileRows, padded head_dim]
  float* values;         // [kKvTileRows, padded head_dim]

  static int64_t floats_of_token(int64_t n_heads, int64_t head_dim) {
    return 2 * (n_heads * padded_head_dim(head_dim) + padded_head_dim(n_heads));
  }
  static size_t n_floats(int64_t n_tokens, int64_t n_heads, int64_t head_dim) {
    return static_cast<size_t>(n_heads * kKvTileRows + padded_head_dim(n_heads) +
                               2 * kKvTileRows * padded_head_dim(head_dim) +
                               n_tokens * floats_of_token(n_heads, head_dim));
  }

  TokenScratch(int64_t n_heads, int64_t head_dim, float* from)
      : token_floats(floats_of_token(n_heads, head_dim)) {
    const auto take = [&from](int64_t n) { return std::exchange(from, from + n); };
    const int64_t wide = padded_head_dim(head_dim);
    first.scores = take(n_heads * kKvTileRows);
    first.keep = take(padded_head_dim(n_heads));
    keys = take(kKvTileRows * wide);
    values = take(kKvTileRows * wide);
    first.q = take(n_heads * wide);
    first.out = take(n_heads * wide);
    first.max = take(padded_head_dim(n_heads));
    first.sum = take(padded_head_dim(n_heads));
  }

  TokenState of(int64_t token) const {
    const int64_t at = token * token_floats;
    return {first.q + at, first.out + at, first.max + at, first.sum + at, first.scores, first.keep};
  }
};

// Stores the sums of the lanes of four vectors at to[0 .. 3].
#if HWY_TARGET == HWY_SCALAR
HWY_INLINE void store_sums(FloatVec a, FloatVec b, FloatVec c, FloatVec e, float* HWY_RESTRICT to) {
  to[0] = hn::GetLane(a);
  to[1] = hn::GetLane(b);
  to[2] = hn::GetLane(c);
  to[3] = hn::GetLane(e);
}
#else
// The sum of the 128-bit blocks of a vector.
HWY_INLINE hn::Vec<hn::FixedTag<float, 4> > sum_of_blocks(hn::FixedTag<float, 4> /*d*/,
                                                          hn::Vec<hn::FixedTag<float, 4> > v) {
  return v;
}
template <class D>
HWY_INLINE hn::Vec<hn::FixedTag<float, 4> > sum_of_blocks(D /*d*/, hn::Vec<D> v) {
  const hn::Half<D> half;
  return sum_of_blocks(half, hn::Add(hn::LowerHalf(half, v), hn::UpperHalf(half, v)));
}

HWY_INLINE void store_sums(FloatVec a, FloatVec b, FloatVec c, FloatVec e, float* HWY_RESTRICT to) {
  const FloatTag d;
  const hn::Repartition<double, FloatTag> dd;
  const auto ab =
      hn::BitCast(dd, hn::Add(hn::InterleaveLower(d, a, b), hn::InterleaveUpper(d, a, b)));
  const auto ce =
      hn::BitCast(dd, hn::Add(hn::InterleaveLower(d, c, e), hn::InterleaveUpper(d, c, e)));
  const auto sums = hn::Add(hn::BitCast(d, hn::InterleaveLower(dd, ab, ce)),
                            hn::BitCast(d, hn::InterleaveUpper(dd, ab, ce)));
  hn::StoreU(sum_of_blocks(d, sums), hn::FixedTag<float, 4>(), to);
}
#endif

// A tile's rows in the cache (or in scratch, where `positions` counts the tile's own rows).
template <class Element>
struct TileRows {
  const Element* base;
  const int32_t* positions;
  int n_rows;
  int64_t row_size;  // numbers, a multiple of kLanes
  int64_t step;      // elements from one position to the next

  const Element* operator[](int r) const { return base + positions[r] * step; }
};

// scores[h * kKvTileRows + r] = q[h] . keys[r] for kHeads heads, q [kHeads, row_size].
template <int kHeads, class Element>
HWY_INLINE void score_token(const TileRows<Element>& keys, const float* HWY_RESTRICT q,
                            float* HWY_RESTRICT scores, RowPrefetcher<>& prefetcher) {
  static_assert(kKeyRows == 4);
  const FloatTag d;
  const int last = keys.n_rows - 1;
  for (int first = 0; first < keys.n_rows; first += kKeyRows) {
    prefetcher.step();
    // Past the last row the last is taken again; those scores are overwritten or never read.
    const Element* HWY_RESTRICT rows[kKeyRows] = {keys[first], keys[HWY_MIN(first + 1, last)],
                                                  keys[HWY_MIN(first + 2, last)],
                                                  keys[HWY_MIN(first + 3, last)]};
    FloatVec acc[kHeads][kKeyRows];
    HWY_UNROLL(kMaxHeads)
    for (int h = 0; h < kHeads; ++h) {
      HWY_UNROLL(kKeyRows)
      for (int r = 0; r < kKeyRows; ++r) acc[h][r] = hn::Zero(d);
    }
    for (int64_t i = 0; i < keys.row_size; i += kLanes) {
      FloatVec b[kHeads];
      HWY_UNROLL(kMaxHeads)
      for (int h = 0; h < kHeads; ++h) b[h] = hn::Load(d, q + h * keys.row_size + i);
      HWY_UNROLL(kKeyRows)
      for (int r = 0; r < kKeyRows; ++r) {
        const auto a = load_at(d, rows[r], i);
        HWY_UNROLL(kMaxHeads)
        for (int h = 0; h < kHeads; ++h) acc[h][r] = hn::MulAdd(a, b[h], acc[h][r]);
      }
    }
    HWY_UNROLL(kMaxHeads)
    for (int h = 0; h < kHeads; ++h) {
      store_sums(acc[h][0], acc[h][1], acc[h][2], acc[h][3], scores + h * kKvTileRows + first);
    }
  }
}

// out[h, i] = out[h, i] * keep[h] + sum_r weights[h * kKvTileRows + r] values[r, i] for kHeads
// heads and kStrip vectors of i; `out` at the strip's first vector, heads row_size apart.
template <int kHeads, int kStrip, class Element>
HWY_INLINE void add_token_values(const TileRows<Element>& values, int64_t first,
                                 const float* HWY_RESTRICT weights, const float* HWY_RESTRICT keep,
                                 float* HWY_RESTRICT out, RowPrefetcher<>& prefetcher) {
  const FloatTag d;
  FloatVec acc[kHeads][kStrip];
  HWY_UNROLL(kMaxHeads)
  for (int h = 0; h < kHeads; ++h) {
    HWY_UNROLL(kMaxStrip)
    for (int j = 0; j < kStrip; ++j) acc[h][j] = hn::Zero(d);
  }
  for (int r = 0; r < values.n_rows; ++r) {
    if (r % kValueRows == 0) prefetcher.step();
    const Element* HWY_RESTRICT row = values[r];
    FloatVec weight[kHeads];
    HWY_UNROLL(kMaxHeads)
    for (int h = 0; h < kHeads; ++h) weight[h] = hn::Set(d, weights[h * kKvTileRows + r]);
    HWY_UNROLL(kMaxStrip)
    for (int j = 0; j < kStrip; ++j) {
      const auto v = load_at(d, row, first + j * kLanes);
      HWY_UNROLL(kMaxHeads)
      for (int h = 0; h < kHeads; ++h) acc[h][j] = hn::MulAdd(weight[h], v, acc[h][j]);
    }
  }
  HWY_UNROLL(kMaxHeads)
  for (int h = 0; h < kHeads; ++h) {
    const auto kept = hn::Set(d, keep[h]);
    HWY_UNROLL(kMaxStrip)
    for (int j = 0; j < kStrip; ++j) {
      float* HWY_RESTRICT at = out + h * values.row_size + first + j * kLanes;
      hn::Store(hn::MulAdd(hn::Load(d, at), kept, acc[h][j]), d, at);
    }
  }
}

template <int kHeads, class Element>
HWY_NOINLINE void update_heads(const TileRows<Element>& keys, const TileRows<Element>& values,
                               const float* weights, int64_t head, const TokenState& state,
                               RowPrefetcher<>& prefetcher) {
  const FloatTag d;
  const int n = keys.n_rows;
  const int64_t wide = keys.row_size;
  float* scores = state.scores + head * kKvTileRows;
  score_token<kHeads>(keys, state.q + head * wide, scores, prefetcher);
  const int n_padded = static_cast<int>(hwy::RoundUpTo(static_cast<size_t>(n), kLanes));
  for (int h = 0; h < kHeads; ++h) {
    float* HWY_RESTRICT at = scores + h * kKvTileRows;
    if (weights != nullptr) {
      for (int r = 0; r < n; ++r) at[r] += weights[r];
    }
    for (int r = n; r < n_padded; ++r) at[r] = -std::numeric_limits<float>::infinity();
    const float before = state.max[head + h];
    auto highest = hn::Set(d, before);
    for (int r = 0; r < n; r += kLanes) highest = hn::Max(highest, hn::Load(d, at + r));
    highest = hn::MaxOfLanes(d, highest);
    auto sum = hn::Zero(d);
    for (int r = 0; r < n; r += kLanes) {
      const auto weight = exp2_flushed(hn::Sub(hn::Load(d, at + r), highest));
      hn::Store(weight, d, at + r);
      sum = hn::Add(sum, weight);
    }
    const float keep = hn::GetLane(exp2_flushed(hn::Sub(hn::Set(d, before), highest)));
    state.keep[head + h] = keep;
    state.max[head + h] = hn::GetLane(highest);
    state.sum[head + h] = state.sum[head + h] * keep + hn::GetLane(hn::SumOfLanes(d, sum));
  }
  float* out = state.out + head * wide;
  const float* keep = state.keep + head;
  int64_t first = 0;
  if constexpr (kMaxStrip == 4) {
    for (; first + 4 * kLanes <= wide; first += 4 * kLanes) {
      add_token_values<kHeads, 4>(values, first, scores, keep, out, prefetcher);
    }
  }
  for (; first + 2 * kLanes <= wide; first += 2 * kLanes) {
    add_token_values<kHeads, 2>(values, first, scores, keep, out, prefetcher);
  }
  if (first < wide) add_token_values<kHeads, 1>(values, first, scores, keep, out, prefetcher);
}

template <class Element>
void update_token(const TileRows<Element>& keys, const TileRows<Element>& values,
                  const float* weights, int64_t n_heads, const TokenState& state,
                  RowPrefetcher<>& prefetcher) {
  int64_t head = 0;
  if constexpr (kMaxHeads == 4) {
    for (; head + 4 <= n_heads; head += 4) {
      update_heads<4>(keys, values, weights, head, state, prefetcher);
    }
  }
  if constexpr (kMaxHeads == 3) {
    // Never a single head after three: two and two keep more sums going.
    for (; n_heads - head == 3 || n_heads - head > 4; head += 3) {
      update_heads<3>(keys, values, weights, head, state, prefetcher);
    }
  }
  for (; head + 2 <= n_heads; head += 2) {
    update_heads<2>(keys, values, weights, head, state, prefetcher);
  }
  if (head < n_heads) update_heads<1>(keys, values, weights, head, state, prefetcher);
}

// How often, at least, update_token() asks for more of the next tile.
inline int64_t n_prefetch_steps(int64_t n_heads, int64_t wide) {
  const int64_t n_groups = (n_heads + kMaxHeads - 1) / kMaxHeads;
  const int64_t n_strips = (wide + kMaxStrip * kLanes - 1) / (kMaxStrip * kLanes);
  return n_groups * (kKvTileRows / kKeyRows + n_strips * kKvTileRows / kValueRows);
}

// Copies the tile's rows to `to` [kKvTileRows, wide] as float32, zeros after head_dim.
template <class Element>
void pad_rows(const Element* HWY_RESTRICT cache, int64_t step, const RowTile& tile,
              int64_t head_dim, int64_t wide, float* HWY_RESTRICT to) {
  for (int r = 0; r < tile.n_rows; ++r, to += wide) {
    widen_row(cache + tile.positions[r] * step, head_dim, to);
    std::fill(to + head_dim, to + wide, 0.0f);
  }
}

template <class Element>
void attend_tokens_of(const QueryTile& query, int64_t first_position, const KvHeadView& kv,
                      RowCursor rows, const AttentionTarget& target, float* scratch_floats) {
  const int64_t head_dim = kv.head_dim;
  const int64_t wide = padded_head_dim(head_dim);
  const TokenScratch scratch(query.n_heads, head_dim, scratch_floats);
  for (int64_t t = 0; t < query.n_tokens; ++t) {
    const TokenState state = scratch.of(t);
    const float* q = query.q + t * query.q_stride;
    for (int64_t h = 0; h < query.n_heads; ++h) {
      for (int64_t i = 0; i < wide; ++i) {
        state.q[h * wide + i] = i < head_dim ? q[h * head_dim + i] * query.scale : 0.0f;
      }
    }
    std::fill_n(state.out, query.n_heads * wide, 0.0f);
    std::fill_n(state.max, query.n_heads, kNoMaximum);
    std::fill_n(state.sum, query.n_heads, 0.0f);
  }

  const auto* keys = static_cast<const Element*>(kv.keys);
  const auto* values = static_cast<const Element*>(kv.values);
  const int64_t step = step_of<Element>(kv);
  int32_t own_rows[kKvTileRows];
  float tile_weights[kKvTileRows];
  for (int r = 0; r < kKvTileRows; ++r) own_rows[r] = r;
  RowTile tiles[2];
  RowTile* tile = &tiles[0];
  RowTile* next = &tiles[1];
  for (tile->fill(rows); tile->n_rows > 0; std::swap(tile, next)) {
    next->fill(rows);
    RowPrefetcher<> prefetcher(kv, *next, n_prefetch_steps(query.n_heads, wide));
    const float* weights = nullptr;
    if (kv.log_weights != nullptr) {
      for (int r = 0; r < tile->n_rows; ++r) tile_weights[r] = kv.log_weights[tile->positions[r]];
      weights = tile_weights;
    }
    if (wide != head_dim) {
      pad_rows(keys, step, *tile, head_dim, wide, scratch.keys);
      pad_rows(values, step, *tile, head_dim, wide, scratch.values);
    }
    for (int64_t t = 0; t < query.n_tokens; ++t) {
      const int n = tile->count_until(first_position + t);
      if (n == 0) continue;
      if (wide == head_dim) {
        update_token(TileRows<Element>{keys, tile->positions, n, wide, step},
                     TileRows<Element>{values, tile->positions, n, wide, step}, weights,
                     query.n_heads, scratch.of(t), prefetcher);
      } else {
        update_token(TileRows<float>{scratch.keys, own_rows, n, wide, wide},
                     TileRows<float>{scratch.values, own_rows, n, wide, wide}, weights,
                     query.n_heads, scratch.of(t), prefetcher);
      }
    }
  }
  for (int64_t t = 0; t < query.n_tokens; ++t) {
    const TokenState state = scratch.of(t);
    for (int64_t h = 0; h < query.n_heads; ++h) {
      const float factor = finish_column(state.max[h], state.sum[h], t, h, query.n_heads, target);
      const float* from = state.out + h * wide;
      float* to = target.out + t * target.out_stride + h * head_dim;
      for (int64_t i = 0; i < head_dim; ++i) to[i] = from[i] * factor;
    }
  }
}

inline size_t attend_tokens_scratch(int64_t n_tokens, int64_t n_heads, int64_t head_dim) {
  return std::max(TokenScratch::n_floats(n_tokens, n_heads, head_dim),
                  attend_tile_scratch(n_tokens, n_heads, head_dim));
}

inline void attend_tokens(const QueryTile& query, int64_t first_position, const KvHeadView& kv,
                          RowCursor rows, const AttentionTarget& target, float* scratch) {
  if (query.n_heads >= kTileHeads) {
    return attend_tile(query, first_position, kv, rows, target, scratch);
  }
  switch (kv.type) {
    case KvType::kF32:
      return attend_tokens_of<float>(query, first_position, kv, rows, target, scratch);
    case KvType::kBf16:
      return attend_tokens_of<uint16_t>(query, first_position, kv, rows, target, scratch);
    case KvType::kF16:
      return attend_tokens_of<hwy::float16_t>(query, first_position, kv, rows, target, scratch);
    case KvType::kQ8_0:
      return attend_tokens_of<BlockQ8_0>(query, first_position, kv, rows, target, scratch);
  }
}

}  // namespace HWY_NAMESPACE
}  // namespace chunkllm
HWY_AFTER_NAMESPACE();

#endif  // per-target include guard
