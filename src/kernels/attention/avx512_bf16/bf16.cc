// Attention with vdpbf16ps: each multiply-add takes two elements of a row, broadcast from memory,
// and those of 16 columns.
#include "kernels/attention/avx512_bf16/bf16_tile-inl.h"

namespace chunkllm {
namespace {

// Groups of columns that share the rows' broadcasts, and rows (of keys or of V^T) at a time: 24
// sums stay in registers, enough to hide the multiply-add's latency.
constexpr int kMaxGroups = 3;
template <int kGroups>
constexpr int kRowsAtOnce = kGroups == 1 ? 16 : 8;

struct Bf16Scratch {
  GroupStates states;
  PackedTile tile;
  float* scores;    // [kMaxGroups, kKvTileRows, kGroup]
  uint32_t* pairs;  // [kMaxGroups, kPairs, kGroup]

  static int64_t n_floats(int64_t n_columns, int64_t head_dim) {
    return GroupStates::n_floats(n_columns, head_dim) + PackedTile::n_floats(head_dim) +
           kMaxGroups * (kScoreFloats + kPairWords);
  }
  Bf16Scratch(int64_t n_columns, int64_t head_dim, float* from)
      : states(n_columns, head_dim, from), scores(take_floats(from, kMaxGroups * kScoreFloats)) {
    pairs = reinterpret_cast<uint32_t*>(take_floats(from, kMaxGroups * kPairWords));
    tile.take_scratch(head_dim, from);
  }
};

// sums[r][g] += the two bf16 numbers at rows + r * stride times those of the 16 columns at
// columns + g * column_stride.
template <int kRows, int kGroups>
CHUNKLLM_ALWAYS_INLINE void add_pair(const uint16_t* rows, int64_t stride, const uint32_t* columns,
                                     int64_t column_stride, __m512 sums[kRows][kGroups]) {
  __m512bh of_columns[kGroups];
#pragma GCC unroll 4
  for (int g = 0; g < kGroups; ++g) {
    of_columns[g] = (__m512bh)_mm512_load_si512(columns + g * column_stride);
  }
#pragma GCC unroll 16
  for (int r = 0; r < kRows; ++r) {
    int32_t pair = 0;
    std::memcpy(&pair, rows + r * stride, sizeof pair);
    const auto broadcast = (__m512bh)_mm512_set1_epi32(pair);
#pragma GCC unroll 4
    for (int g = 0; g < kGroups; ++g) {
      sums[r][g] = _mm512_dpbf16_ps(sums[r][g], of_columns[g], broadcast);
    }
  }
}

// The scores of kGroups groups, unscaled. q [kGroups, head_dim / 2, kGroup], scores
// [kGroups, kKvTileRows, kGroup].
template <int kGroups>
void score_tile(const PackedTile& tile, int64_t head_dim, const uint32_t* q, float* scores) {
  constexpr int kRows = kRowsAtOnce<kGroups>;
  for (int64_t row = 0; row < kKvTileRows; row += kRows) {
    const uint16_t* keys = tile.keys[row / kGroup] + row % kGroup * head_dim;
    __m512 sums[kRows][kGroups] = {};
    for (int64_t k = 0; k < head_dim; k += 2) {
      add_pair<kRows, kGroups>(keys + k, head_dim, q + k / 2 * kGroup, head_dim / 2 * kGroup, sums);
    }
#pragma GCC unroll 16
    for (int r = 0; r < kRows; ++r) {
#pragma GCC unroll 4
      for (int g = 0; g < kGroups; ++g) {
        _mm512_store_ps(scores + g * kScoreFloats + (row + r) * kGroup, sums[r][g]);
      }
    }
  }
}

// out += V^T P^T. pairs [kGroups, kPairs, kGroup], out [kGroups, head_dim, kGroup].
template <int kGroups>
void add_tile_values(const PackedTile& tile, int64_t head_dim, const uint32_t* pairs, float* out) {
  constexpr int kRows = kRowsAtOnce<kGroups>;
  for (int64_t i = 0; i < head_dim; i += kRows) {
    __m512 sums[kRows][kGroups];
#pragma GCC unroll 16
    for (int r = 0; r < kRows; ++r) {
#pragma GCC unroll 4
      for (int g = 0; g < kGroups; ++g) {
        sums[r][g] = _mm512_load_ps(out + (g * head_dim + i + r) * kGroup);
      }
    }
    for (int64_t row = 0; row < kKvTileRows; row += 2) {
      const uint16_t* values = tile.transposed_values +
                               row / kTransposedRows * head_dim * kTransposedRows +
                               i * kTransposedRows + row % kTransposedRows;
      add_pair<kRows, kGroups>(values, kTransposedRows, pairs + row / 2 * kGroup, kPairWords, sums);
    }
#pragma GCC unroll 16
    for (int r = 0; r < kRows; ++r) {
#pragma GCC unroll 4
      for (int g = 0; g < kGroups; ++g) {
        _mm512_store_ps(out + (g * head_dim + i + r) * kGroup, sums[r][g]);
      }
    }
  }
}

// Takes the tile into the state of kGroups groups from first_group on.
template <int kGroups>
void take_tile(const Bf16Scratch& scratch, float scale, int64_t first_group) {
  const GroupStates& states = scratch.states;
  const int64_t head_dim = states.head_dim;
  const __m512 scales = _mm512_set1_ps(scale);
  float* out = states.out + first_group * kGroup * head_dim;
  score_tile<kGroups>(scratch.tile, head_dim, states.q + first_group * kGroup * head_dim / 2,
                      scratch.scores);
  bool care = false;
  for (int g = 0; g < kGroups; ++g) {
    const Unit unit{&scratch.tile, first_group + g, scratch.scores + g * kScoreFloats,
                    scratch.pairs + g * kPairWords};
    Rescaling rescaling;
    prepare_scores(states, scale, unit, rescaling);
    const __m512 references = _mm512_load_ps(states.max + unit.group * kGroup);
    const __m512 sums =
        weigh_rows<kKvTileRows>(unit.scores, scales, references, _mm512_setzero_ps(), unit.pairs);
    finish_weights(states, scale, unit, sums, rescaling);
    care = care || needs_care(states, unit);
  }
  if (!care) {
    add_tile_values<kGroups>(scratch.tile, head_dim, scratch.pairs, out);
    return;
  }
  for (int g = 0; g < kGroups; ++g) {
    const Unit unit{&scratch.tile, first_group + g, nullptr, nullptr};
    if (needs_care(states, unit)) continue;  // added row by row
    add_tile_values<1>(scratch.tile, head_dim, scratch.pairs + g * kPairWords,
                       out + g * kGroup * head_dim);
  }
}

size_t scratch_floats(int64_t n_tokens, int64_t n_heads, int64_t head_dim) {
  return static_cast<size_t>(Bf16Scratch::n_floats(n_tokens * n_heads, head_dim));
}

void attend(const QueryTile& query, int64_t first_position, const KvHeadView& kv, RowCursor rows,
            const AttentionTarget& target, float* floats) {
  Bf16Scratch scratch(query.n_tokens * query.n_heads, kv.head_dim, floats);
  const GroupStates& states = scratch.states;
  const float scale = begin_groups(query, first_position, states);
  RowTile next;
  next.fill(rows);
  TilePrefetcher prefetcher(kv, next, (states.n_groups + kMaxGroups - 1) / kMaxGroups);
  while (next.n_rows > 0) {
    pack_tile(next, kv, first_position, scratch.tile);
    next.fill(rows);
    prefetcher.restart();
    int64_t group = 0;
    while (states.last_position(group) < scratch.tile.rows.positions[0]) ++group;
    while (group < states.n_groups) {
      prefetcher.step();
      switch (states.n_groups - group) {
        case 1:
          take_tile<1>(scratch, scale, group);
          group += 1;
          break;
        case 2:
        case 4:  // twice two is better than three and one
          take_tile<2>(scratch, scale, group);
          group += 2;
          break;
        default:
          take_tile<3>(scratch, scale, group);
          group += 3;
      }
    }
  }
  finish_groups(states, query.n_heads, target);
}

}  // namespace

namespace avx512_bf16 {

AttentionTileKernel attention_tile_kernel() { return {scratch_floats, attend, kTileColumns}; }

}  // namespace avx512_bf16
}  // namespace chunkllm
