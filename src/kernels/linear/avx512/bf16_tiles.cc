// Tiles of bfloat16 with AVX-512 BF16: conversion, dequantisation of quantised weights, and the
// product on machines without tile registers.
#include "kernels/linear/bf16_tiles.h"

#include <immintrin.h>

namespace chunkllm::avx512 {
namespace {

using Word [[gnu::may_alias, gnu::aligned(2)]] = int32_t;

__m512 halves(const uint8_t* p) {
  return _mm512_cvtph_ps(_mm256_loadu_si256(reinterpret_cast<const __m256i*>(p)));
}

__m128i sixteen(const uint8_t* p) { return _mm_loadu_si128(reinterpret_cast<const __m128i*>(p)); }

__m512 unsigned_bytes(const uint8_t* p) {
  return _mm512_cvtepi32_ps(_mm512_cvtepu8_epi32(sixteen(p)));
}

__m512 signed_bytes(const uint8_t* p) {
  return _mm512_cvtepi32_ps(_mm512_cvtepi8_epi32(sixteen(p)));
}

// value = integer * scale + shift, exact in float32.
struct AffineMap {
  __m512 scale;
  __m512 shift;
};

// For half `h` (16 inputs) of block b.
template <DType kType>
AffineMap affine_map(const uint8_t* unit, int64_t b, int64_t h) {
  using Format = QuantFormat<kType>;
  const __m512 minus_offset = _mm512_set1_ps(-static_cast<float>(Format::kOffset));
  if constexpr (!Format::kSuper) {
    const __m512 scale = halves(unit + Format::kD + 32 * b);
    return {scale, _mm512_mul_ps(scale, minus_offset)};
  } else {
    const __m512 d = halves(unit + Format::kD);
    if constexpr (Format::kHasMin) {
      const __m512 min = _mm512_mul_ps(halves(unit + Format::kDmin),
                                       unsigned_bytes(unit + Format::kMins + 16 * b));
      return {_mm512_mul_ps(d, unsigned_bytes(unit + Format::kScales + 16 * b)),
              _mm512_sub_ps(_mm512_setzero_ps(), min)};
    } else {
      const __m512 scale = _mm512_mul_ps(d, signed_bytes(unit + Format::kScales + 32 * b + 16 * h));
      return {scale, _mm512_mul_ps(scale, minus_offset)};
    }
  }
}

// The integers of group g of block b, a byte each.
template <DType kType>
__m512i integers(const uint8_t* unit, int64_t b, int64_t g) {
  using Format = QuantFormat<kType>;
  if constexpr (Format::kBits == 8) {
    return _mm512_loadu_si512(unit + (8 * b + g) * kQuantVectorBytes);
  } else {
    const __m512i both = _mm512_loadu_si512(unit + (4 * b + g % 4) * kQuantVectorBytes);
    const auto shift = [](int64_t count) { return _mm_cvtsi64_si128(count); };
    __m512i q = _mm512_and_si512(_mm512_srl_epi16(both, shift(g / 4 * 4)), _mm512_set1_epi8(15));
    const uint8_t* high = unit + Format::kHigh + b * Format::kHighBlock;
    if constexpr (Format::kBits == 5) {
      const __m512i bits = _mm512_srl_epi16(_mm512_loadu_si512(high), shift(g));
      q = _mm512_or_si512(q, _mm512_slli_epi16(_mm512_and_si512(bits, _mm512_set1_epi8(1)), 4));
    }
    if constexpr (Format::kBits == 6) {
      const __m512i pairs = _mm512_loadu_si512(high + g / 4 * kQuantVectorBytes);
      const __m512i bits = _mm512_srl_epi16(pairs, shift(g % 4 * 2));
      q = _mm512_or_si512(q, _mm512_slli_epi16(_mm512_and_si512(bits, _mm512_set1_epi8(3)), 4));
    }
    return q;
  }
}

// Stores `even` and `odd` rounded and interleaved: a row of a tile of B.
void store_pairs(__m512 even, __m512 odd, uint16_t* target) {
  const __m512i interleave =
      _mm512_set_epi16(31, 15, 30, 14, 29, 13, 28, 12, 27, 11, 26, 10, 25, 9, 24, 8, 23, 7, 22, 6,
                       21, 5, 20, 4, 19, 3, 18, 2, 17, 1, 16, 0);
  const __m512i both = reinterpret_cast<__m512i>(_mm512_cvtne2ps_pbh(odd, even));
  _mm512_storeu_si512(target, _mm512_permutexvar_epi16(interleave, both));
}

template <DType kType>
void dequantize(const uint8_t* panel, int64_t first_block, int64_t n_blocks, uint16_t* tile) {
  using Format = QuantFormat<kType>;
  const __m512i byte = _mm512_set1_epi32(0xff);
  for (int64_t block = first_block; block < first_block + n_blocks; ++block, tile += kTileWords) {
    const uint8_t* unit = panel + block / Format::kBlocks * Format::kUnitBytes;
    const int64_t b = block % Format::kBlocks;
    for (int64_t h = 0; h < 2; ++h) {
      const AffineMap to_value = affine_map<kType>(unit, b, h);
      const auto value = [&](__m512i q) {
        return _mm512_fmadd_ps(_mm512_cvtepi32_ps(q), to_value.scale, to_value.shift);
      };
#pragma GCC unroll 4
      for (int64_t g = 4 * h; g < 4 * h + 4; ++g) {
        const __m512i q = integers<kType>(unit, b, g);
        uint16_t* rows = tile + 2 * g * 32;
        store_pairs(value(_mm512_and_si512(q, byte)),
                    value(_mm512_and_si512(_mm512_srli_epi32(q, 8), byte)), rows);
        store_pairs(value(_mm512_and_si512(_mm512_srli_epi32(q, 16), byte)),
                    value(_mm512_srli_epi32(q, 24)), rows + 32);
      }
    }
  }
}

// Eight rows by 32 outputs: 16 sums, enough to hide the instruction's latency.
constexpr int kRows = 8;

void multiply_rows(const TileBlock& block, const uint16_t* a, float* c) {
  __m512 sums[kRows][2];
  for (int r = 0; r < kRows; ++r) {
    float* row = c + r * block.c_stride;
    sums[r][0] = block.accumulate ? _mm512_loadu_ps(row) : _mm512_setzero_ps();
    sums[r][1] = block.accumulate ? _mm512_loadu_ps(row + 16) : _mm512_setzero_ps();
  }
  const uint16_t* b0 = block.b;
  const uint16_t* b1 = block.b + block.b_stride;
  for (int64_t k = 0; k < block.n_k_tiles;
       ++k, a += kTileWords, b0 += kTileWords, b1 += kTileWords) {
    for (int64_t pair = 0; pair < 16; ++pair) {
      const auto weights0 = reinterpret_cast<__m512bh>(_mm512_loadu_si512(b0 + 32 * pair));
      const auto weights1 = reinterpret_cast<__m512bh>(_mm512_loadu_si512(b1 + 32 * pair));
      for (int r = 0; r < kRows; ++r) {
        const int32_t two = *reinterpret_cast<const Word*>(a + 32 * r + 2 * pair);
        const auto inputs = reinterpret_cast<__m512bh>(_mm512_set1_epi32(two));
        sums[r][0] = _mm512_dpbf16_ps(sums[r][0], inputs, weights0);
        sums[r][1] = _mm512_dpbf16_ps(sums[r][1], inputs, weights1);
      }
    }
  }
  for (int r = 0; r < kRows; ++r) {
    _mm512_storeu_ps(c + r * block.c_stride, sums[r][0]);
    _mm512_storeu_ps(c + r * block.c_stride + 16, sums[r][1]);
  }
}

void multiply(const TileBlock& block) {
  for (int64_t r = 0; r < block.n_row_tiles * kTileRows; r += kRows) {
    multiply_rows(block, block.a + r / kTileRows * block.a_stride + r % kTileRows * kTileInputs,
                  block.c + r * block.c_stride);
  }
}

void nothing() {}

}  // namespace

void round_tile_rows(const float* x, int64_t n, uint16_t* row) {
  const auto store = [&row](__m512 low, __m512 high) {
    _mm512_storeu_si512(row, reinterpret_cast<__m512i>(_mm512_cvtne2ps_pbh(high, low)));
    row += kTileWords;
  };
  for (; n >= kTileInputs; n -= kTileInputs, x += kTileInputs) {
    store(_mm512_loadu_ps(x), _mm512_loadu_ps(x + 16));
  }
  if (n > 0) {
    const uint32_t mask = (uint32_t{1} << n) - 1;
    store(_mm512_maskz_loadu_ps(static_cast<__mmask16>(mask), x),
          _mm512_maskz_loadu_ps(static_cast<__mmask16>(mask >> 16), x + 16));
  }
}

void dequantize_tiles(DType dtype, const uint8_t* panel, int64_t first_block, int64_t n_blocks,
                      uint16_t* tiles) {
  switch (dtype) {
    case DType::kQ8_0:
      return dequantize<DType::kQ8_0>(panel, first_block, n_blocks, tiles);
    case DType::kQ4_0:
      return dequantize<DType::kQ4_0>(panel, first_block, n_blocks, tiles);
    case DType::kQ4K:
      return dequantize<DType::kQ4K>(panel, first_block, n_blocks, tiles);
    case DType::kQ5K:
      return dequantize<DType::kQ5K>(panel, first_block, n_blocks, tiles);
    case DType::kQ6K:
      return dequantize<DType::kQ6K>(panel, first_block, n_blocks, tiles);
    case DType::kF32:
    case DType::kF16:
    case DType::kBf16:
    case DType::kI32:
    case DType::kI64:
    case DType::kU8:
      break;
  }
}

// 512 inputs: a slab of 256 KiB, for second-level caches of 1 MiB.
TileKernels tile_kernels() { return {nothing, nothing, multiply, 16}; }

}  // namespace chunkllm::avx512
