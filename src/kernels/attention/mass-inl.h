// The attention that chunks receive from a tile of queries: the scores of attend_tile again,
// and their exponentials summed by chunk.

#if defined(CHUNKLLM_KERNELS_ATTENTION_MASS_INL_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef CHUNKLLM_KERNELS_ATTENTION_MASS_INL_H_
#undef CHUNKLLM_KERNELS_ATTENTION_MASS_INL_H_
#else
#define CHUNKLLM_KERNELS_ATTENTION_MASS_INL_H_
#endif

#include <algorithm>
#include <utility>

#include "kernels/attention/tile-inl.h"

HWY_BEFORE_NAMESPACE();
namespace chunkllm {
namespace HWY_NAMESPACE {

struct MassScratch {
  float* q;            // panels of [head_dim, columns]
  float* log_sum_exp;  // [columns], in units of log 2
  int32_t* positions;  // [columns]
  float* keys;         // [kKvTileRows, head_dim]
  float* scores;       // [kKvTileRows, kMaxPanel * kLanes]

  static size_t n_floats(const Panels& panels, int64_t head_dim) {
    return static_cast<size_t>((head_dim + 2) * panels.n_padded() + kKvTileRows * head_dim +
                               kKvTileRows * kMaxPanel * kLanes);
  }

  MassScratch(const Panels& panels, int64_t head_dim, float* from) {
    const auto take = [&from](int64_t n) { return std::exchange(from, from + n); };
    scores = take(kKvTileRows * kMaxPanel * kLanes);
    keys = take(kKvTileRows * head_dim);
    q = take(head_dim * panels.n_padded());
    log_sum_exp = take(panels.n_padded());
    positions = reinterpret_cast<int32_t*>(take(panels.n_padded()));
  }
};

// Adds `sums` [n_columns], one chunk's, to the masses of the tokens whose heads the columns are.
inline void add_chunk_sums(const MassTask& task, size_t chunk, int64_t first_column,
                           int64_t n_columns, const float* sums) {
  const int64_t n_heads = task.query.n_heads;
  int64_t token = first_column / n_heads;
  int64_t head = first_column % n_heads;
  for (int64_t c = 0; c < n_columns; ++token, head = 0) {
    float sum = 0.0f;
    for (; head < n_heads && c < n_columns; ++head, ++c) sum += sums[c];
    task.mass[token * task.mass_stride + static_cast<int64_t>(chunk)] += task.weight * sum;
  }
}

// Adds the tile's rows to the masses of one panel's queries. `chunk` holds the tile's first row.
template <int kWidth, class Prefetcher>
HWY_NOINLINE void add_panel_masses(const MassTask& task, const MassScratch& scratch,
                                   int64_t first_vector, int64_t n_columns, int64_t head_dim,
                                   const RowTile& tile, size_t chunk, Prefetcher& prefetcher) {
  const FloatTag d;
  const auto highest = hn::Set(d, 127.0f);
  constexpr int kStride = kWidth * kLanes;
  const int64_t column = first_vector * kLanes;
  const int32_t* columns = scratch.positions + column;
  const int n = tile.count_until(columns[kStride - 1]);
  if (n == 0) return;
  score_rows<kWidth>(scratch.keys, head_dim, n, scratch.q + head_dim * column, scratch.scores,
                     prefetcher);
  if (tile.positions[n - 1] > columns[0]) {
    mask_future<kWidth>(tile.positions, n, columns, scratch.scores);
  }
  FloatVec log_sum_exp[kWidth];
  HWY_UNROLL(kMaxPanel)
  for (int j = 0; j < kWidth; ++j) {
    log_sum_exp[j] = hn::Load(d, scratch.log_sum_exp + column + j * kLanes);
  }
  HWY_ALIGN float sums[kStride];
  for (int r = 0; r < n;) {
    while (!task.chunks[chunk].contains(tile.positions[r])) ++chunk;
    const int64_t end = task.chunks[chunk].end;
    FloatVec sum[kWidth];
    HWY_UNROLL(kMaxPanel)
    for (int j = 0; j < kWidth; ++j) sum[j] = hn::Zero(d);
    for (; r < n && tile.positions[r] < end; ++r) {
      HWY_UNROLL(kMaxPanel)
      for (int j = 0; j < kWidth; ++j) {
        auto x = hn::Sub(hn::Load(d, scratch.scores + r * kStride + j * kLanes), log_sum_exp[j]);
        x = hn::IfThenElse(hn::Gt(x, highest), highest, x);  // keeps NaN, unlike Min
        sum[j] = hn::Add(sum[j], exp2_flushed(x));
      }
    }
    HWY_UNROLL(kMaxPanel)
    for (int j = 0; j < kWidth; ++j) hn::Store(sum[j], d, sums + j * kLanes);
    add_chunk_sums(task, chunk, column, n_columns, sums);
  }
}

template <class Element>
void mass_tile_of(const MassTask& task, const KvHeadView& kv, float* scratch_floats) {
  const QueryTile& query = task.query;
  const int64_t head_dim = kv.head_dim;
  const Panels panels(query.n_tokens * query.n_heads);
  const MassScratch scratch(panels, head_dim, scratch_floats);
  pack_queries(query, head_dim, panels, scratch.q);
  for (int64_t c = 0; c < panels.n_padded(); ++c) {
    const int64_t column = std::min(c, panels.n_columns - 1);
    const int64_t token = column / query.n_heads;
    scratch.positions[c] = static_cast<int32_t>(task.positions[token]);
    scratch.log_sum_exp[c] =
        task.log_sum_exp[token * task.log_sum_exp_stride + column % query.n_heads] * kLog2E;
  }

  RowCursor rows = rows_until(task.chunks, task.positions[query.n_tokens - 1]);
  RowTile tiles[2];
  RowTile* tile = &tiles[0];
  RowTile* next = &tiles[1];
  size_t chunk = 0;
  for (tile->fill(rows); tile->n_rows > 0; std::swap(tile, next)) {
    next->fill(rows);
    pack_rows(static_cast<const Element*>(kv.keys), step_of<Element>(kv), *tile, head_dim,
              scratch.keys);
    while (!task.chunks[chunk].contains(tile->first())) ++chunk;
    RowPrefetcher<false> prefetcher(kv, *next, panels.n_panels * kKvTileRows / kMostScalars);
    for (int64_t p = 0; p < panels.n_panels; ++p) {
      const int64_t first = panels.first(p);
      const int64_t n_columns =
          std::min(panels.width(p) * kLanes, panels.n_columns - first * kLanes);
      switch (panels.width(p)) {
        case 1:
          add_panel_masses<1>(task, scratch, first, n_columns, head_dim, *tile, chunk, prefetcher);
          break;
        case 2:
          add_panel_masses<2>(task, scratch, first, n_columns, head_dim, *tile, chunk, prefetcher);
          break;
        default:
          add_panel_masses<3>(task, scratch, first, n_columns, head_dim, *tile, chunk, prefetcher);
      }
    }
  }
}

inline size_t mass_tile_scratch(int64_t n_tokens, int64_t n_heads, int64_t head_dim) {
  return MassScratch::n_floats(Panels(n_tokens * n_heads), head_dim);
}

inline void mass_tile(const MassTask& task, const KvHeadView& kv, float* scratch) {
  switch (kv.type) {
    case KvType::kF32:
      return mass_tile_of<float>(task, kv, scratch);
    case KvType::kBf16:
      return mass_tile_of<uint16_t>(task, kv, scratch);
    case KvType::kF16:
      return mass_tile_of<hwy::float16_t>(task, kv, scratch);
    case KvType::kQ8_0:
      return mass_tile_of<BlockQ8_0>(task, kv, scratch);
  }
}

}  // namespace HWY_NAMESPACE
}  // namespace chunkllm
HWY_AFTER_NAMESPACE();

#endif  // per-target include guard
