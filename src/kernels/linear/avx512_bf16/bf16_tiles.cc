// Tiles of bfloat16 with AVX-512 BF16: conversion, dequantisation of quantised weights, and the
// product on machines without tile registers.
#include "kernels/linear/bf16_tiles.h"

#include <immintrin.h>

#include <utility>

namespace chunkllm::avx512_bf16 {
namespace {

using Word [[gnu::may_alias, gnu::aligned(2)]] = int32_t;

__m512 halves(const uint8_t* p) {
  return _mm512_cvtph_ps(_mm256_loadu_si256(reinterpret_cast<const __m256i*>(p)));
}

__m128i sixteen(const uint8_t* p) { return _mm_loadu_si128(reinterpret_cast<const __m128i*>(p)); }

__m512 bfloats(const uint8_t* p) {
  const __m256i bits = _mm256_loadu_si256(reinterpret_cast<const __m256i*>(p));
  return _mm512_castsi512_ps(_mm512_slli_epi32(_mm512_cvtepu16_epi32(bits), 16));
}

__m512 unsigned_bytes(const uint8_t* p) {
  return _mm512_cvtepi32_ps(_mm512_cvtepu8_epi32(sixteen(p)));
}

__m512 signed_bytes(const uint8_t* p) {
  return _mm512_cvtepi32_ps(_mm512_cvtepi8_epi32(sixteen(p)));
}

// value = number * scale + shift, exact in float32.
struct AffineMap {
  __m512 scale;
  __m512 shift;
};

// For half `h` (16 inputs) of block b.
template <int kIndex>
AffineMap affine_map(const uint8_t* unit, int64_t b, int64_t h) {
  using Unit = UnitLayout<kIndex>;
  const int64_t block = Unit::kSuper ? 0 : 32 * b;
  __m512 scale = Unit::kCodes.scale == ScaleKind::kBf16 ? bfloats(unit + Unit::kD + block)
                                                        : halves(unit + Unit::kD + block);
  __m512 shift = _mm512_setzero_ps();
  if constexpr (Unit::kHasMin) shift = halves(unit + Unit::kDmin + block);
  if constexpr (Unit::kSuper) {
    const int64_t at = 16 * (Unit::kSubBlocks == 2 ? 2 * b + h : b);
    const uint8_t* bytes = unit + Unit::kScales + at;
    __m512 min = _mm512_setzero_ps();
    if constexpr (Unit::kCodes.scale == ScaleKind::kSigned) {
      scale = _mm512_mul_ps(scale, signed_bytes(bytes));
    } else if constexpr (Unit::kCodes.scale == ScaleKind::kNibble) {
      const __m512i both = _mm512_cvtepu8_epi32(sixteen(bytes));
      const __m512i low = _mm512_and_si512(both, _mm512_set1_epi32(15));
      scale = _mm512_mul_ps(scale, _mm512_cvtepi32_ps(low));
      min = _mm512_cvtepi32_ps(_mm512_srli_epi32(both, 4));
    } else {
      scale = _mm512_mul_ps(scale, unsigned_bytes(bytes));
      if constexpr (Unit::kHasMin) min = unsigned_bytes(unit + Unit::kMins + at);
    }
    if constexpr (Unit::kHasMin) {
      shift = _mm512_sub_ps(_mm512_setzero_ps(), _mm512_mul_ps(shift, min));
    }
  }
  if constexpr (Unit::kCodes.offset != 0) {
    shift = _mm512_mul_ps(scale, _mm512_set1_ps(-static_cast<float>(Unit::kCodes.offset)));
  }
  return {scale, shift};
}

// The bits of group g in a plane of kBits bits, low in their bytes.
template <int kBits>
__m512i plane_bits(const uint8_t* plane, int64_t g) {
  constexpr int64_t kPerVector = 8 / kBits;  // groups
  constexpr bool kHalves = kBits == 4;       // of the block: g and g + 4 share a vector
  const int64_t v = kHalves ? g % 4 : g / kPerVector;
  const int64_t shift = kHalves ? g / 4 * 4 : g % kPerVector * kBits;
  const __m512i vector = _mm512_loadu_si512(plane + v * kQuantVectorBytes);
  if constexpr (kBits == 8) {
    return vector;
  } else {
    const __m512i moved = _mm512_srl_epi16(vector, _mm_cvtsi64_si128(shift));
    return _mm512_and_si512(moved, _mm512_set1_epi8((1 << kBits) - 1));
  }
}

// The codes of group g of block b, or the codebook's numbers of them, a byte each.
template <int kIndex>
__m512i numbers(const uint8_t* unit, int64_t b, int64_t g) {
  using Unit = UnitLayout<kIndex>;
  __m512i q = plane_bits<Unit::kLowBits>(unit + b * Unit::kLowBlock, g);
  if constexpr (Unit::kHighBits > 0) {
    const uint8_t* high = unit + Unit::kHigh + b * Unit::kHighBlock;
    q = _mm512_or_si512(q, _mm512_slli_epi16(plane_bits<Unit::kHighBits>(high, g), Unit::kLowBits));
  }
  if constexpr (Unit::kCodes.has_codebook) {
    constexpr Codebook kBook = Unit::kCodes.codebook;
    const __m128i values = _mm_loadu_si128(reinterpret_cast<const __m128i*>(kBook.values));
    q = _mm512_shuffle_epi8(_mm512_broadcast_i32x4(values), q);
  }
  return q;
}

// Byte kByte of each word as an integer.
template <bool kSigned, int kByte>
__m512i byte_of(__m512i words) {
  if constexpr (kSigned) {
    return _mm512_srai_epi32(_mm512_slli_epi32(words, 24 - 8 * kByte), 24);
  } else if constexpr (kByte == 3) {
    return _mm512_srli_epi32(words, 24);
  } else {
    return _mm512_and_si512(_mm512_srli_epi32(words, 8 * kByte), _mm512_set1_epi32(0xff));
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

template <int kIndex>
void dequantize(const uint8_t* panel, int64_t first_block, int64_t n_blocks, uint16_t* tile) {
  using Unit = UnitLayout<kIndex>;
  constexpr bool kSigned = Unit::kCodes.has_codebook;
  for (int64_t block = first_block; block < first_block + n_blocks; ++block, tile += kTileWords) {
    const uint8_t* unit = panel + block / Unit::kBlocks * Unit::kUnitBytes;
    const int64_t b = block % Unit::kBlocks;
    for (int64_t h = 0; h < 2; ++h) {
      const AffineMap map = affine_map<kIndex>(unit, b, h);
      const auto value = [&](__m512i q) {
        return _mm512_fmadd_ps(_mm512_cvtepi32_ps(q), map.scale, map.shift);
      };
#pragma GCC unroll 4
      for (int64_t g = 4 * h; g < 4 * h + 4; ++g) {
        const __m512i q = numbers<kIndex>(unit, b, g);
        uint16_t* rows = tile + 2 * g * 32;
        store_pairs(value(byte_of<kSigned, 0>(q)), value(byte_of<kSigned, 1>(q)), rows);
        store_pairs(value(byte_of<kSigned, 2>(q)), value(byte_of<kSigned, 3>(q)), rows + 32);
      }
    }
  }
}

template <int... kIndex>
const DequantizeTiles* dequantizers(std::integer_sequence<int, kIndex...> /*rows*/) {
  static constexpr DequantizeTiles kKernels[] = {dequantize<layout_index(kIndex)>...};
  return kKernels;
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

void round_rows(const float* x, int64_t n, uint16_t* row) {
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

const DequantizeTiles* tile_dequantizers() {
  return dequantizers(std::make_integer_sequence<int, kNumQuantFormats>());
}

}  // namespace

TilePacking tile_packing() { return {round_rows, tile_dequantizers()}; }

// 512 inputs: a slab of 256 KiB, for second-level caches of 1 MiB.
TileKernels tile_kernels() { return {nothing, nothing, multiply, 16}; }

}  // namespace chunkllm::avx512_bf16
