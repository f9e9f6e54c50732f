// Tiles of cached rows and the weights of their scores, as the kernels for AMX tiles and for
// vdpbf16ps share them. Everything is transposed so that cached keys are used as they lie and
// columns stay in the lanes of vectors:
//   scores  S^T [rows, columns] = K [rows, head_dim] * Q^T [head_dim, columns]
//   outputs O^T [head_dim, columns] += V^T [head_dim, rows] * P^T [rows, columns]
// V^T is made once a tile of rows and serves all columns.
#pragma once

#include "kernels/attention/avx512_bf16/bf16-inl.h"

namespace chunkllm {
namespace {

constexpr int kTransposedRows = 32;  // of V^T, side by side
constexpr int kKeyBlocks = kKvTileRows / kGroup;
constexpr int64_t kScoreFloats = kKvTileRows * kGroup;
constexpr int64_t kPairWords = kPairs * kGroup;

// A tile of rows as the kernels want it.
struct PackedTile {
  FilledTile rows;
  const uint16_t* keys[kKeyBlocks];  // 16 rows each, head_dim elements apart: cache or key_copy
  uint16_t* key_copy;                // [kKvTileRows, head_dim]
  uint16_t* value_copy;              // [kKvTileRows, head_dim]
  uint16_t* transposed_values;  // [kKvTileRows / kTransposedRows, head_dim, kTransposedRows]: V^T

  static int64_t n_floats(int64_t head_dim) { return 3 * kKvTileRows * head_dim / 2; }
  void take_scratch(int64_t head_dim, float*& from) {
    const int64_t n = kKvTileRows * head_dim / 2;
    key_copy = reinterpret_cast<uint16_t*>(take_floats(from, n));
    value_copy = reinterpret_cast<uint16_t*>(take_floats(from, n));
    transposed_values = reinterpret_cast<uint16_t*>(take_floats(from, n));
  }
};

// One group of columns against one tile of rows.
struct Unit {
  const PackedTile* tile = nullptr;
  int64_t group = 0;
  float* scores = nullptr;    // [kKvTileRows, kGroup]
  uint32_t* pairs = nullptr;  // [kPairs, kGroup]
};

// to [head_dim, 32] = the 32 rows transposed.
void transpose_32_rows(const uint16_t* const* rows, int64_t head_dim, uint16_t* to) {
  for (int64_t k = 0; k < head_dim; k += 8, to += 8 * kTransposedRows) {
    // Lane L of vector i is row 8 L + i; each lane transposes its 8 x 8 numbers.
    __m512i x[8];
#pragma GCC unroll 8
    for (int i = 0; i < 8; ++i) x[i] = load_four(rows + i, 8, k);
    const __m512i a0 = _mm512_unpacklo_epi16(x[0], x[1]);
    const __m512i a1 = _mm512_unpackhi_epi16(x[0], x[1]);
    const __m512i a2 = _mm512_unpacklo_epi16(x[2], x[3]);
    const __m512i a3 = _mm512_unpackhi_epi16(x[2], x[3]);
    const __m512i a4 = _mm512_unpacklo_epi16(x[4], x[5]);
    const __m512i a5 = _mm512_unpackhi_epi16(x[4], x[5]);
    const __m512i a6 = _mm512_unpacklo_epi16(x[6], x[7]);
    const __m512i a7 = _mm512_unpackhi_epi16(x[6], x[7]);
    const __m512i b0 = _mm512_unpacklo_epi32(a0, a2);
    const __m512i b1 = _mm512_unpackhi_epi32(a0, a2);
    const __m512i b2 = _mm512_unpacklo_epi32(a1, a3);
    const __m512i b3 = _mm512_unpackhi_epi32(a1, a3);
    const __m512i b4 = _mm512_unpacklo_epi32(a4, a6);
    const __m512i b5 = _mm512_unpackhi_epi32(a4, a6);
    const __m512i b6 = _mm512_unpacklo_epi32(a5, a7);
    const __m512i b7 = _mm512_unpackhi_epi32(a5, a7);
    _mm512_store_si512(to + 0 * kTransposedRows, _mm512_unpacklo_epi64(b0, b4));
    _mm512_store_si512(to + 1 * kTransposedRows, _mm512_unpackhi_epi64(b0, b4));
    _mm512_store_si512(to + 2 * kTransposedRows, _mm512_unpacklo_epi64(b1, b5));
    _mm512_store_si512(to + 3 * kTransposedRows, _mm512_unpackhi_epi64(b1, b5));
    _mm512_store_si512(to + 4 * kTransposedRows, _mm512_unpacklo_epi64(b2, b6));
    _mm512_store_si512(to + 5 * kTransposedRows, _mm512_unpackhi_epi64(b2, b6));
    _mm512_store_si512(to + 6 * kTransposedRows, _mm512_unpacklo_epi64(b3, b7));
    _mm512_store_si512(to + 7 * kTransposedRows, _mm512_unpackhi_epi64(b3, b7));
  }
}

void pack_tile(const RowTile& from, const KvHeadView& kv, int64_t first_position,
               PackedTile& tile) {
  FilledTile& rows = tile.rows;
  const int64_t head_dim = kv.head_dim;
  const int64_t step_bytes = kv.step_bytes;
  const auto* keys = static_cast<const char*>(kv.keys);
  const auto* values = static_cast<const char*>(kv.values);
  const bool as_cached = kv.type == KvType::kBf16;
  const bool side_by_side = step_bytes == head_dim * 2;
  rows.fill(from);
  for (int r = 0; r < kKvTileRows; ++r) {
    uint16_t* key_copy = tile.key_copy + r * head_dim;
    if (r >= rows.n_rows) {
      rows.values[r] = kZeroRow;
      std::memset(key_copy, 0, static_cast<size_t>(head_dim) * 2);
    } else if (as_cached) {
      rows.values[r] = reinterpret_cast<const uint16_t*>(values + rows.positions[r] * step_bytes);
    } else {
      uint16_t* value_copy = tile.value_copy + r * head_dim;
      round_row(kv.type, keys + rows.positions[r] * step_bytes, head_dim, key_copy);
      round_row(kv.type, values + rows.positions[r] * step_bytes, head_dim, value_copy);
      rows.values[r] = value_copy;
    }
  }
  for (int i = 0; i < kKeyBlocks; ++i) {
    const int r = i * kGroup;
    tile.keys[i] = tile.key_copy + r * head_dim;
    if (!as_cached) continue;
    if (side_by_side && r + kGroup <= rows.n_rows &&
        rows.positions[r + kGroup - 1] == rows.positions[r] + kGroup - 1) {
      tile.keys[i] = reinterpret_cast<const uint16_t*>(keys + rows.positions[r] * step_bytes);
      continue;
    }
    for (int j = r; j < r + kGroup && j < rows.n_rows; ++j) {
      std::memcpy(tile.key_copy + j * head_dim, keys + rows.positions[j] * step_bytes,
                  static_cast<size_t>(head_dim) * 2);
    }
  }
  for (int r = 0; r < kKvTileRows; r += kTransposedRows) {
    transpose_32_rows(rows.values + r, head_dim, tile.transposed_values + r * head_dim);
  }
  rows.values_finite = from.last() <= first_position || values_are_finite(rows, head_dim);
}

// Brings the rows of a tile to come near, some at a time: short ranges defeat the hardware's
// prefetcher.
class TilePrefetcher {
 public:
  TilePrefetcher(const KvHeadView& kv, const RowTile& tile, int64_t n_steps)
      : kv_(kv),
        tile_(tile),
        row_bytes_(kv_row_bytes(kv.type, kv.head_dim)),
        step_bytes_(kv.step_bytes),
        step_((kKvTileRows + n_steps - 1) / n_steps) {}

  CHUNKLLM_ALWAYS_INLINE void step() {
    for (int64_t i = 0; i < step_ && done_ < tile_.n_rows; ++i, ++done_) {
      const int64_t at = tile_.positions[done_] * step_bytes_;
      for (int64_t byte = 0; byte < row_bytes_; byte += 64) {
        _mm_prefetch(static_cast<const char*>(kv_.keys) + at + byte, _MM_HINT_T1);
        _mm_prefetch(static_cast<const char*>(kv_.values) + at + byte, _MM_HINT_T1);
      }
    }
  }
  void restart() { done_ = 0; }

 private:
  const KvHeadView& kv_;
  const RowTile& tile_;
  int64_t row_bytes_;
  int64_t step_bytes_;
  int64_t step_;  // rows
  int64_t done_ = 0;
};

// Whether the unit's values cannot be left to products of whole tiles: some row is not finite and
// must not reach all columns.
bool needs_care(const GroupStates& states, const Unit& unit) {
  const FilledTile& rows = unit.tile->rows;
  return !rows.values_finite && rows.positions[kKvTileRows - 1] > states.first_position(unit.group);
}

// What is left of a group's outputs where its references are raised.
struct Rescaling {
  alignas(64) float keep[kGroup];
  bool raised = false;
};

// Readies the scores of `unit` for weigh_rows(): masks what is to come, and gives columns that have
// none a reference.
void prepare_scores(const GroupStates& states, float scale, const Unit& unit,
                    Rescaling& rescaling) {
  const int32_t* columns = states.positions + unit.group * kGroup;
  const FilledTile& rows = unit.tile->rows;
  float* max = states.max + unit.group * kGroup;
  if (rows.positions[kKvTileRows - 1] > columns[0]) mask_future(rows, columns, unit.scores);
  if (max[0] == kNoMaximum) {
    rescaling.raised =
        raise_references(unit.scores, scale, max, states.sum + unit.group * kGroup, rescaling.keep);
  }
}

// Takes the weights of `unit`, whose sums are `sums`, into the state; weighs once more where scores
// have risen far above their reference. The values of the tile before must be in the outputs.
void finish_weights(const GroupStates& states, float scale, const Unit& unit, __m512 sums,
                    Rescaling& rescaling) {
  const int64_t head_dim = states.head_dim;
  float* max = states.max + unit.group * kGroup;
  float* sum = states.sum + unit.group * kGroup;
  float* out = states.out + unit.group * kGroup * head_dim;
  if (_mm512_cmp_ps_mask(sums, _mm512_set1_ps(kMaxTileSum), _CMP_NLE_UQ) != 0 &&
      raise_references(unit.scores, scale, max, sum, rescaling.keep)) {
    rescaling.raised = true;
    sums = weigh_rows<kKvTileRows>(unit.scores, _mm512_set1_ps(scale), _mm512_load_ps(max),
                                   _mm512_setzero_ps(), unit.pairs);
  }
  _mm512_store_ps(sum, _mm512_add_ps(_mm512_load_ps(sum), sums));
  if (rescaling.raised) rescale(rescaling.keep, head_dim, out);
  if (needs_care(states, unit)) {
    add_visible_values(unit.tile->rows, head_dim, unit.pairs,
                       states.positions + unit.group * kGroup, out);
  }
}

}  // namespace
}  // namespace chunkllm
