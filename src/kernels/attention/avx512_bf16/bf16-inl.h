// Pieces that the bf16 attention kernels share. For KV caches that are not float32, on processors
// that multiply pairs of bf16 numbers: AMX tiles, or vdpbf16ps.
//
// Columns, which are (token, head) pairs of one KV head, lie across the lanes of a vector: a group
// is 16 columns. Queries are rounded to bf16; scores are sums of exact products in float32, and are
// scaled there. Weights 2^(score - reference) are rounded to bf16 for the product with the values
// and summed in float32 before that. The reference is some maximum of the column so far: it follows
// only when scores rise above it by more than kSlack, so that sums are seldom rescaled. Everything
// here has internal linkage, and no inline function that others share is called: it would be
// compiled for this instruction set (script/check-weak-symbols).
#pragma once

// GCC 12 warns of what its own header leaves undefined on purpose.
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wuninitialized"
#ifndef __clang__
#pragma GCC diagnostic ignored "-Wmaybe-uninitialized"
#endif
#include <immintrin.h>
#pragma GCC diagnostic pop

#include <math.h>

#include <cstdint>
#include <cstring>

#include "base/quant/blocks.h"
#include "kernels/attention/kernels.h"

#define CHUNKLLM_ALWAYS_INLINE __attribute__((always_inline)) inline

namespace chunkllm {
namespace {

constexpr int kGroup = 16;               // columns of a group
constexpr int kPairs = kKvTileRows / 2;  // a tile's rows, two by two
constexpr float kSlack = 8.0f;           // weights are at most 2^kSlack
constexpr int32_t kNoRow = INT32_MAX;    // the position of what fills up a tile: after every query
constexpr int64_t kTileColumns = 512;    // from which on more would not make it more efficient

alignas(64) const uint16_t kZeroRow[kMaxHeadDim] = {};

// Takes n floats of scratch.
float* take_floats(float*& scratch, int64_t n) {
  float* taken = scratch;
  scratch += n;
  return taken;
}

// A tile's weights sum to more only if one of them is above 2^kSlack.
constexpr float kMaxTileSum = 65536.0f;

// The state of all columns. Columns past the last repeat it.
struct GroupStates {
  uint32_t* q;         // [n_groups, head_dim / 2, kGroup]: two elements of a query
  float* out;          // [n_groups, head_dim, kGroup]
  float* max;          // [n_groups, kGroup]: the reference
  float* sum;          // [n_groups, kGroup]
  int32_t* positions;  // [n_groups, kGroup]
  int64_t n_columns;
  int64_t n_groups;
  int64_t head_dim;

  static int64_t groups_of(int64_t n_columns) { return (n_columns + kGroup - 1) / kGroup; }
  static int64_t n_floats(int64_t n_columns, int64_t head_dim) {
    return groups_of(n_columns) * kGroup * (head_dim + head_dim / 2 + 3);
  }

  GroupStates(int64_t n_columns_, int64_t head_dim_, float*& from)
      : n_columns(n_columns_), n_groups(groups_of(n_columns_)), head_dim(head_dim_) {
    q = reinterpret_cast<uint32_t*>(take_floats(from, n_groups * kGroup * head_dim / 2));
    out = take_floats(from, n_groups * kGroup * head_dim);
    max = take_floats(from, n_groups * kGroup);
    sum = take_floats(from, n_groups * kGroup);
    positions = reinterpret_cast<int32_t*>(take_floats(from, n_groups * kGroup));
  }

  int32_t first_position(int64_t group) const { return positions[group * kGroup]; }
  int32_t last_position(int64_t group) const { return positions[group * kGroup + kGroup - 1]; }
};

// A tile of rows, filled up to kKvTileRows: what is no row has the position kNoRow and zeros.
struct FilledTile {
  int32_t positions[kKvTileRows];
  const uint16_t* values[kKvTileRows];  // bf16 rows, in the cache or rounded to scratch
  int n_rows = 0;
  bool values_finite = true;  // no query that does not see a row can be harmed by its values

  void fill(const RowTile& tile) {
    n_rows = tile.n_rows;
    for (int r = 0; r < kKvTileRows; ++r) positions[r] = r < n_rows ? tile.positions[r] : kNoRow;
  }
};

CHUNKLLM_ALWAYS_INLINE __m128i load_16_bytes(const void* from) {
  return _mm_loadu_si128(static_cast<const __m128i*>(from));
}

// 128-bit lane i of the result: the 16 bytes at rows[i * step].
template <typename T>
CHUNKLLM_ALWAYS_INLINE __m512i load_four(const T* const* rows, int step, int64_t offset) {
  __m512i x = _mm512_castsi128_si512(load_16_bytes(rows[0] + offset));
  x = _mm512_mask_broadcast_i32x4(x, 0x00f0, load_16_bytes(rows[step] + offset));
  x = _mm512_mask_broadcast_i32x4(x, 0x0f00, load_16_bytes(rows[2 * step] + offset));
  return _mm512_mask_broadcast_i32x4(x, 0xf000, load_16_bytes(rows[3 * step] + offset));
}

// to[j] = element j of each of 16 rows, for j < 4 and elements of 4 bytes; rows begin at rows[i] +
// offset.
template <typename T>
CHUNKLLM_ALWAYS_INLINE void transpose_16_rows(const T* const* rows, int64_t offset, __m512i to[4]) {
  const __m512i x0 = load_four(rows + 0, 4, offset);
  const __m512i x1 = load_four(rows + 1, 4, offset);
  const __m512i x2 = load_four(rows + 2, 4, offset);
  const __m512i x3 = load_four(rows + 3, 4, offset);
  const __m512i a = _mm512_unpacklo_epi32(x0, x1);
  const __m512i b = _mm512_unpackhi_epi32(x0, x1);
  const __m512i c = _mm512_unpacklo_epi32(x2, x3);
  const __m512i d = _mm512_unpackhi_epi32(x2, x3);
  to[0] = _mm512_unpacklo_epi64(a, c);
  to[1] = _mm512_unpackhi_epi64(a, c);
  to[2] = _mm512_unpacklo_epi64(b, d);
  to[3] = _mm512_unpackhi_epi64(b, d);
}

// Rounds the queries and lays them out by columns; clears the other state. A scale that is not
// positive goes into the queries: returns what scores are multiplied by.
float begin_groups(const QueryTile& query, int64_t first_position, const GroupStates& states) {
  const int64_t head_dim = states.head_dim;
  const bool positive = query.scale > 0.0f;
  const __m512 factor = _mm512_set1_ps(positive ? 1.0f : query.scale);
  alignas(64) uint16_t rounded[kGroup][kMaxHeadDim];
  const uint16_t* rows[kGroup];
  for (int64_t g = 0; g < states.n_groups; ++g) {
    for (int i = 0; i < kGroup; ++i) {
      const int64_t column = g * kGroup + i;
      const int64_t c = column < states.n_columns ? column : states.n_columns - 1;
      const int64_t token = c / query.n_heads;
      const float* from = query.q + token * query.q_stride + (c % query.n_heads) * head_dim;
      for (int64_t k = 0; k < head_dim; k += 16) {
        const __m512 x = _mm512_mul_ps(_mm512_loadu_ps(from + k), factor);
        _mm256_store_si256(reinterpret_cast<__m256i*>(rounded[i] + k),
                           (__m256i)_mm512_cvtneps_pbh(x));
      }
      rows[i] = rounded[i];
      states.positions[column] = static_cast<int32_t>(first_position + token);
      states.max[column] = kNoMaximum;
      states.sum[column] = 0.0f;
    }
    uint32_t* to = states.q + g * kGroup * head_dim / 2;
    for (int64_t k = 0; k < head_dim; k += 8, to += 4 * kGroup) {
      __m512i transposed[4];
      transpose_16_rows(rows, k, transposed);
      for (int j = 0; j < 4; ++j) _mm512_store_si512(to + j * kGroup, transposed[j]);
    }
  }
  for (int64_t i = 0; i < states.n_groups * kGroup * head_dim; i += 16) {
    _mm512_store_ps(states.out + i, _mm512_setzero_ps());
  }
  return positive ? query.scale : 1.0f;
}

// 2^x, from 0 to infinity; NaN stays NaN. Relative error below 8e-5, small beside the rounding to
// bf16: a polynomial of degree 3 for 2^f, f in [0, 1).
CHUNKLLM_ALWAYS_INLINE __m512 exp2_coarse(__m512 x) {
  const __m512 f = _mm512_reduce_ps(x, _MM_FROUND_TO_NEG_INF);  // x - floor(x)
  __m512 y = _mm512_set1_ps(0.0780245227f);
  y = _mm512_fmadd_ps(y, f, _mm512_set1_ps(0.226067155f));
  y = _mm512_fmadd_ps(y, f, _mm512_set1_ps(0.695833541f));
  y = _mm512_fmadd_ps(y, f, _mm512_set1_ps(0.999925219f));
  return _mm512_scalef_ps(y, x);  // y 2^floor(x)
}

// Puts -infinity where a row of the tile lies after the column's query. scores [kKvTileRows,
// kGroup], columns [kGroup]: the queries' positions.
void mask_future(const FilledTile& tile, const int32_t* columns, float* scores) {
  const __m512i queries = _mm512_loadu_si512(columns);
  const __m512 nothing = _mm512_set1_ps(-INFINITY);
  for (int r = kKvTileRows - 1; r >= 0 && tile.positions[r] > columns[0]; --r) {
    const __mmask16 future = _mm512_cmpgt_epi32_mask(_mm512_set1_epi32(tile.positions[r]), queries);
    _mm512_mask_store_ps(scores + r * kGroup, future, nothing);
  }
}

// Raises the references of a group's columns that the tile's scores exceed by more than kSlack.
// scores [kKvTileRows, kGroup], unscaled. Returns whether any was; `keep` [kGroup] is then what is
// left of the columns' outputs, and sums have been multiplied by it.
bool raise_references(const float* scores, float scale, float* max, float* sum, float* keep) {
  // A score that is NaN is passed over here: the second operand counts.
  __m512 m0 = _mm512_set1_ps(-INFINITY);
  __m512 m1 = m0;
  __m512 m2 = m0;
  __m512 m3 = m0;
  for (int r = 0; r < kKvTileRows; r += 4) {
    m0 = _mm512_max_ps(_mm512_load_ps(scores + (r + 0) * kGroup), m0);
    m1 = _mm512_max_ps(_mm512_load_ps(scores + (r + 1) * kGroup), m1);
    m2 = _mm512_max_ps(_mm512_load_ps(scores + (r + 2) * kGroup), m2);
    m3 = _mm512_max_ps(_mm512_load_ps(scores + (r + 3) * kGroup), m3);
  }
  const __m512 highest = _mm512_mul_ps(_mm512_max_ps(_mm512_max_ps(m0, m1), _mm512_max_ps(m2, m3)),
                                       _mm512_set1_ps(scale));
  const __m512 before = _mm512_load_ps(max);
  const __mmask16 raised =
      _mm512_cmp_ps_mask(highest, _mm512_add_ps(before, _mm512_set1_ps(kSlack)), _CMP_GT_OQ);
  if (raised == 0) return false;
  const __m512 after = _mm512_mask_mov_ps(before, raised, highest);
  const __m512 kept = exp2_coarse(_mm512_sub_ps(before, after));
  const __m512 factor = _mm512_mask_mov_ps(_mm512_set1_ps(1.0f), raised, kept);
  _mm512_store_ps(max, after);
  _mm512_store_ps(keep, factor);
  _mm512_store_ps(sum, _mm512_mul_ps(_mm512_load_ps(sum), factor));
  return true;
}

// Weights 2^(scale * score - reference) of kRows rows, rounded to pairs [kRows / 2, kGroup] of two
// rows' bf16 numbers. scores [kRows, kGroup]. Returns `sum` and what the rounded weights add to it,
// so that outputs are means of values.
template <int kRows>
CHUNKLLM_ALWAYS_INLINE __m512 weigh_rows(const float* scores, __m512 scale, __m512 reference,
                                         __m512 sum, uint32_t* pairs) {
  const __m512i half = _mm512_set1_epi32(0x8000);
  const __m512i upper = _mm512_set1_epi32(static_cast<int>(0xffff0000u));
  __m512 sum1 = _mm512_setzero_ps();
#pragma GCC unroll 8
  for (int r = 0; r < kRows; r += 2) {
    const __m512 s0 = _mm512_load_ps(scores + r * kGroup);
    const __m512 s1 = _mm512_load_ps(scores + (r + 1) * kGroup);
    const __m512 w0 = exp2_coarse(_mm512_fmsub_ps(s0, scale, reference));
    const __m512 w1 = exp2_coarse(_mm512_fmsub_ps(s1, scale, reference));
    const __m512i b0 = _mm512_add_epi32(_mm512_castps_si512(w0), half);
    const __m512i b1 = _mm512_add_epi32(_mm512_castps_si512(w1), half);
    sum = _mm512_add_ps(sum, w0);
    sum1 = _mm512_add_ps(sum1, w1);
    // upper ? b1 : b0 >> 16
    _mm512_store_si512(pairs + r / 2 * kGroup,
                       _mm512_ternarylogic_epi32(upper, b1, _mm512_srli_epi32(b0, 16), 0xca));
  }
  return _mm512_add_ps(sum, sum1);
}

// out[i, c] *= keep[c]; out [head_dim, kGroup].
void rescale(const float* keep, int64_t head_dim, float* out) {
  const __m512 factor = _mm512_load_ps(keep);
  for (int64_t i = 0; i < head_dim; ++i) {
    _mm512_store_ps(out + i * kGroup, _mm512_mul_ps(_mm512_load_ps(out + i * kGroup), factor));
  }
}

const int8_t* numbers_of(const BlockQ8_0& block) {
  return reinterpret_cast<const int8_t*>(&block.q);
}

// to [head_dim] = a cached row of a type that is neither float32 nor bf16, rounded to bf16.
void round_row(KvType type, const void* row, int64_t head_dim, uint16_t* to) {
  const auto* halves = static_cast<const uint16_t*>(row);
  const auto* blocks = static_cast<const BlockQ8_0*>(row);
  for (int64_t i = 0; i < head_dim; i += 16) {
    __m512 x;
    if (type == KvType::kF16) {
      x = _mm512_cvtph_ps(_mm256_loadu_si256(reinterpret_cast<const __m256i*>(halves + i)));
    } else {
      const BlockQ8_0& block = blocks[i / kSmallBlock];
      const __m512i numbers =
          _mm512_cvtepi8_epi32(load_16_bytes(numbers_of(block) + i % kSmallBlock));
      const __m512 scale =
          _mm512_broadcastss_ps(_mm_cvtph_ps(_mm_cvtsi32_si128(static_cast<int>(block.d))));
      x = _mm512_mul_ps(_mm512_cvtepi32_ps(numbers), scale);
    }
    _mm256_storeu_si256(reinterpret_cast<__m256i*>(to + i), (__m256i)_mm512_cvtneps_pbh(x));
  }
}

// Whether no value of the tile's rows is infinite or NaN.
bool values_are_finite(const FilledTile& tile, int64_t head_dim) {
  const __m512i exponent = _mm512_set1_epi16(0x7f80);
  __mmask32 hit = 0;
  for (int r = 0; r < tile.n_rows; ++r) {
    for (int64_t i = 0; i < head_dim; i += 32) {
      const __m512i x = _mm512_and_si512(_mm512_loadu_si512(tile.values[r] + i), exponent);
      hit |= _mm512_cmpeq_epi16_mask(x, exponent);
    }
  }
  return hit == 0;
}

// out += values * weights for rows of which some are not finite, so that a weight of 0 would not
// keep them out: each column takes the rows up to its own position and no other. pairs
// [kPairs, kGroup], out [head_dim, kGroup].
inline void add_visible_values(const FilledTile& tile, int64_t head_dim, const uint32_t* pairs,
                               const int32_t* columns, float* out) {
  for (int c = 0; c < kGroup; ++c) {
    for (int r = 0; r < kKvTileRows && tile.positions[r] <= columns[c]; ++r) {
      const uint32_t pair = pairs[r / 2 * kGroup + c];
      const uint32_t weight_bits = r % 2 == 0 ? pair << 16 : pair & 0xffff0000u;
      float weight = 0.0f;
      std::memcpy(&weight, &weight_bits, sizeof weight);
      const uint16_t* row = tile.values[r];
      for (int64_t i = 0; i < head_dim; ++i) {
        const uint32_t bits = static_cast<uint32_t>(row[i]) << 16;
        float value = 0.0f;
        std::memcpy(&value, &bits, sizeof value);
        out[i * kGroup + c] += weight * value;
      }
    }
  }
}

// Hands the columns' states to the target.
void finish_groups(const GroupStates& states, int64_t n_heads, const AttentionTarget& target) {
  const int64_t head_dim = states.head_dim;
  for (int64_t g = 0; g < states.n_groups; ++g) {
    float* to[kGroup];
    float factor[kGroup];
    const int64_t left = states.n_columns - g * kGroup;
    const int n = static_cast<int>(left < kGroup ? left : kGroup);
    for (int i = 0; i < n; ++i) {
      const int64_t column = g * kGroup + i;
      const int64_t token = column / n_heads;
      const int64_t head = column % n_heads;
      const float max = states.max[column];
      const float sum = states.sum[column];
      to[i] = target.out + token * target.out_stride + head * head_dim;
      factor[i] = 1.0f;
      if (target.sum != nullptr) {
        target.max[column] = max;
        target.sum[column] = sum;
        continue;
      }
      factor[i] /= sum;
      if (target.log_sum_exp != nullptr) {
        target.log_sum_exp[token * target.log_sum_exp_stride + head] = max / kLog2E + ::logf(sum);
      }
    }
    const float* rows[kGroup];
    for (int64_t k = 0; k < head_dim; k += kGroup) {
      const float* from = states.out + (g * head_dim + k) * kGroup;
      for (int i = 0; i < kGroup; ++i) rows[i] = from + i * kGroup;
      for (int c = 0; c < n; c += 4) {
        __m512i transposed[4];
        transpose_16_rows(rows, c, transposed);
        for (int j = 0; j < 4 && c + j < n; ++j) {
          _mm512_storeu_ps(to[c + j] + k, _mm512_mul_ps(_mm512_castsi512_ps(transposed[j]),
                                                        _mm512_set1_ps(factor[c + j])));
        }
      }
    }
  }
}

}  // namespace
}  // namespace chunkllm
