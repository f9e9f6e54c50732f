// Attention of a tile of queries: S = Q K^T, running softmax, O += P V, one tile of rows at a time.

#if defined(CHUNKLLM_KERNELS_ATTENTION_BLOCK_INL_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef CHUNKLLM_KERNELS_ATTENTION_BLOCK_INL_H_
#undef CHUNKLLM_KERNELS_ATTENTION_BLOCK_INL_H_
#else
#define CHUNKLLM_KERNELS_ATTENTION_BLOCK_INL_H_
#endif

#include <algorithm>
#include <cmath>
#include <numbers>
#include <utility>

#include "kernels/attention/tile-inl.h"

HWY_BEFORE_NAMESPACE();
namespace chunkllm {
namespace HWY_NAMESPACE {

// (token, head) columns of a tile from which on more would not make attend_tile() more efficient.
inline constexpr int64_t kTileColumns = 192;

// Scratch of attend_tile(). All columns are padded to whole vectors.
struct BlockScratch {
  float* q;            // panels of [head_dim, columns]
  float* out;          // panels of [head_dim, columns]
  float* max;          // [columns]
  float* sum;          // [columns]
  int32_t* positions;  // [columns]
  float* keys;         // [kKvTileRows, head_dim]
  float* values;       // [kKvTileRows, head_dim]
  float* scores;       // [kKvTileRows, kMaxPanel * kLanes]

  static size_t n_floats(const Panels& panels, int64_t head_dim) {
    return static_cast<size_t>((2 * head_dim + 3) * panels.n_padded() + 2 * kKvTileRows * head_dim +
                               kKvTileRows * kMaxPanel * kLanes);
  }

  BlockScratch(const Panels& panels, int64_t head_dim, float* from) {
    const auto take = [&from](int64_t n) { return std::exchange(from, from + n); };
    scores = take(kKvTileRows * kMaxPanel * kLanes);
    keys = take(kKvTileRows * head_dim);
    values = take(kKvTileRows * head_dim);
    q = take(head_dim * panels.n_padded());
    out = take(head_dim * panels.n_padded());
    max = take(panels.n_padded());
    sum = take(panels.n_padded());
    positions = reinterpret_cast<int32_t*>(take(panels.n_padded()));
  }
};

// Whether no element of values [n] is infinite or NaN.
inline bool all_finite(const float* HWY_RESTRICT values, int64_t n) {
  const hn::CappedTag<float, 8> d;  // n is a multiple of 8
  auto sum = hn::Zero(d);
  for (int64_t i = 0; i < n; i += static_cast<int64_t>(hn::Lanes(d))) {
    sum = hn::MulAdd(hn::Load(d, values + i), hn::Zero(d), sum);
  }
  return hn::AllTrue(d, hn::Eq(sum, hn::Zero(d)));
}

// add_values() for rows of which some are not finite, so that a weight of 0 would not keep them
// out: each column takes the rows up to its own position and no other.
inline void add_visible_values(const float* values, int64_t head_dim, const RowTile& tile, int n,
                               const float* weights, const float* keep, const int32_t* columns,
                               int64_t n_columns, float* out) {
  for (int64_t c = 0; c < n_columns; ++c) {
    for (int64_t i = 0; i < head_dim; ++i) out[i * n_columns + c] *= keep[c];
    for (int r = 0; r < n && tile.positions[r] <= columns[c]; ++r) {
      const float weight = weights[r * n_columns + c];
      const float* row = values + r * head_dim;
      for (int64_t i = 0; i < head_dim; ++i) out[i * n_columns + c] += weight * row[i];
    }
  }
}

// Adds each row's own weight to its scores, for the first n rows.
template <int kWidth>
void add_log_weights(const int32_t* HWY_RESTRICT positions, int n,
                     const float* HWY_RESTRICT log_weights, float* HWY_RESTRICT scores) {
  const FloatTag d;
  for (int r = 0; r < n; ++r) {
    const auto weight = hn::Set(d, log_weights[positions[r]]);
    for (int j = 0; j < kWidth; ++j) {
      float* HWY_RESTRICT at = scores + (r * kWidth + j) * kLanes;
      hn::Store(hn::Add(hn::Load(d, at), weight), d, at);
    }
  }
}

// Turns the scores of n rows into weights exp2(score - maximum), and takes them into the columns'
// running maximum and sum. `keep` [columns]: what is left of the state before.
template <int kWidth>
HWY_NOINLINE void update_softmax(int n, float* HWY_RESTRICT scores, float* HWY_RESTRICT max,
                                 float* HWY_RESTRICT sum, float* HWY_RESTRICT keep) {
  const FloatTag d;
  constexpr int kStride = kWidth * kLanes;
  for (int j = 0; j < kStride; j += kLanes) {
    const auto before = hn::Load(d, max + j);
    auto highest0 = before;
    auto highest1 = before;
    int r = 0;
    for (; r + 2 <= n; r += 2) {
      highest0 = hn::Max(highest0, hn::Load(d, scores + r * kStride + j));
      highest1 = hn::Max(highest1, hn::Load(d, scores + (r + 1) * kStride + j));
    }
    if (r < n) highest0 = hn::Max(highest0, hn::Load(d, scores + r * kStride + j));
    const auto highest = hn::Max(highest0, highest1);
    const auto kept = exp2_flushed(hn::Sub(before, highest));
    auto total = hn::Zero(d);
    for (r = 0; r < n; ++r) {
      float* HWY_RESTRICT at = scores + r * kStride + j;
      const auto weight = exp2_flushed(hn::Sub(hn::Load(d, at), highest));
      hn::Store(weight, d, at);
      total = hn::Add(total, weight);
    }
    hn::Store(highest, d, max + j);
    hn::Store(kept, d, keep + j);
    hn::Store(hn::MulAdd(hn::Load(d, sum + j), kept, total), d, sum + j);
  }
}

// Takes the tile of rows into the state of one panel of columns.
template <int kWidth, class Prefetcher>
void update_panel(const BlockScratch& scratch, int64_t first_vector, int64_t head_dim,
                  const RowTile& tile, const float* log_weights, bool values_finite,
                  Prefetcher& prefetcher) {
  constexpr int kStride = kWidth * kLanes;
  const int64_t column = first_vector * kLanes;
  const int32_t* columns = scratch.positions + column;
  const int n = tile.count_until(columns[kStride - 1]);
  if (n == 0) return;
  const bool masked = tile.positions[n - 1] > columns[0];
  float* out = scratch.out + head_dim * column;
  HWY_ALIGN float keep[kStride];
  score_rows<kWidth>(scratch.keys, head_dim, n, scratch.q + head_dim * column, scratch.scores,
                     prefetcher);
  if (log_weights != nullptr) {
    add_log_weights<kWidth>(tile.positions, n, log_weights, scratch.scores);
  }
  if (masked) mask_future<kWidth>(tile.positions, n, columns, scratch.scores);
  update_softmax<kWidth>(n, scratch.scores, scratch.max + column, scratch.sum + column, keep);
  if (masked && !values_finite) {
    add_visible_values(scratch.values, head_dim, tile, n, scratch.scores, keep, columns, kStride,
                       out);
  } else {
    add_values<kWidth>(scratch.values, head_dim, n, scratch.scores, keep, out, prefetcher);
  }
}

// Hands the state of one column (token, head) to the target; returns what its output is multiplied
// by.
inline float finish_column(float max, float sum, int64_t token, int64_t head, int64_t n_heads,
                           const AttentionTarget& target) {
  if (target.sum != nullptr) {
    target.max[token * n_heads + head] = max;
    target.sum[token * n_heads + head] = sum;
    return 1.0f;
  }
  if (target.log_sum_exp != nullptr) {
    target.log_sum_exp[token * target.log_sum_exp_stride + head] =
        max * std::numbers::ln2_v<float> + std::log(sum);
  }
  return 1.0f / sum;
}

// Writes the state of all columns to the target.
inline void write_panels(const BlockScratch& scratch, const Panels& panels, const QueryTile& query,
                         int64_t head_dim, const AttentionTarget& target) {
  float* nowhere = scratch.scores;  // takes what belongs to no column
  for (int64_t p = 0; p < panels.n_panels; ++p) {
    const int64_t stride = panels.width(p) * kLanes;
    const float* panel = scratch.out + head_dim * kLanes * panels.first(p);
    for (int64_t lane = 0; lane < stride; lane += kTransposed) {
      const int64_t first = panels.first(p) * kLanes + lane;
      const int n = static_cast<int>(HWY_MIN(kTransposed, panels.n_columns - first));
      float* rows[kTransposed];
      for (int i = 0; i < kTransposed; ++i) {
        const int64_t token = (first + i) / query.n_heads;
        const int64_t head = (first + i) % query.n_heads;
        rows[i] = i < n ? target.out + token * target.out_stride + head * head_dim : nowhere;
      }
      for (int64_t k = 0; k < head_dim; k += kTransposed) {
        const float* from[kTransposed];
        float* to[kTransposed];
        for (int i = 0; i < kTransposed; ++i) {
          from[i] = panel + (k + i) * stride + lane;
          to[i] = rows[i] + k;
        }
        transpose(from, to);
      }
      for (int i = 0; i < n; ++i) {
        const int64_t column = first + i;
        const float factor =
            finish_column(scratch.max[column], scratch.sum[column], column / query.n_heads,
                          column % query.n_heads, query.n_heads, target);
        if (target.sum == nullptr) scale_by(factor, head_dim, rows[i]);
      }
    }
  }
}

template <class Element>
void attend_tile_of(const QueryTile& query, int64_t first_position, const KvHeadView& kv,
                    RowCursor rows, const AttentionTarget& target, float* scratch_floats) {
  const int64_t head_dim = kv.head_dim;
  const int64_t step = step_of<Element>(kv);
  const Panels panels(query.n_tokens * query.n_heads);
  const BlockScratch scratch(panels, head_dim, scratch_floats);
  pack_queries(query, head_dim, panels, scratch.q);
  std::fill_n(scratch.out, head_dim * panels.n_padded(), 0.0f);
  std::fill_n(scratch.max, panels.n_padded(), kNoMaximum);
  std::fill_n(scratch.sum, panels.n_padded(), 0.0f);
  for (int64_t c = 0; c < panels.n_padded(); ++c) {
    const int64_t token = std::min(c / query.n_heads, query.n_tokens - 1);
    scratch.positions[c] = static_cast<int32_t>(first_position + token);
  }

  RowTile tiles[2];
  RowTile* tile = &tiles[0];
  RowTile* next = &tiles[1];
  for (tile->fill(rows); tile->n_rows > 0; std::swap(tile, next)) {
    next->fill(rows);
    pack_rows(static_cast<const Element*>(kv.keys), step, *tile, head_dim, scratch.keys);
    pack_rows(static_cast<const Element*>(kv.values), step, *tile, head_dim, scratch.values);
    const bool values_finite =
        tile->last() <= first_position || all_finite(scratch.values, tile->n_rows * head_dim);
    RowPrefetcher<> prefetcher(kv, *next,
                               panels.n_panels * (kKvTileRows + head_dim) / kMostScalars);
    for (int64_t p = 0; p < panels.n_panels; ++p) {
      const int64_t first = panels.first(p);
      switch (panels.width(p)) {
        case 1:
          update_panel<1>(scratch, first, head_dim, *tile, kv.log_weights, values_finite,
                          prefetcher);
          break;
        case 2:
          update_panel<2>(scratch, first, head_dim, *tile, kv.log_weights, values_finite,
                          prefetcher);
          break;
        default:
          update_panel<3>(scratch, first, head_dim, *tile, kv.log_weights, values_finite,
                          prefetcher);
      }
    }
  }
  write_panels(scratch, panels, query, head_dim, target);
}

inline size_t attend_tile_scratch(int64_t n_tokens, int64_t n_heads, int64_t head_dim) {
  return BlockScratch::n_floats(Panels(n_tokens * n_heads), head_dim);
}

inline void attend_tile(const QueryTile& query, int64_t first_position, const KvHeadView& kv,
                        RowCursor rows, const AttentionTarget& target, float* scratch) {
  switch (kv.type) {
    case KvType::kF32:
      return attend_tile_of<float>(query, first_position, kv, rows, target, scratch);
    case KvType::kBf16:
      return attend_tile_of<uint16_t>(query, first_position, kv, rows, target, scratch);
    case KvType::kF16:
      return attend_tile_of<hwy::float16_t>(query, first_position, kv, rows, target, scratch);
    case KvType::kQ8_0:
      return attend_tile_of<BlockQ8_0>(query, first_position, kv, rows, target, scratch);
  }
}

}  // namespace HWY_NAMESPACE
}  // namespace chunkllm
HWY_AFTER_NAMESPACE();

#endif  // per-target include guard
