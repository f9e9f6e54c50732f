// AVX-512 with VNNI: one instruction multiplies 64 bytes and adds fours of products.
#include "kernels/quant/dot.h"

#include <immintrin.h>

#include <utility>

namespace chunkllm::avx512_vnni {
namespace {

#include "kernels/quant/dot-inl.h"

struct Vnni {
  using Bytes = __m512i;
  using Ints = __m512i;
  using Floats = __m512;
  static constexpr int kEightBitOffset = 128;
  static constexpr bool kHasPairs = false;
  static constexpr bool kUnpacks = false;

  static Bytes load(const uint8_t* p) { return _mm512_loadu_si512(p); }
  // Bit kFrom of each byte moved to bit kTo; bits of neighbours come along.
  template <int kFrom, int kTo>
  static Bytes move(Bytes b) {
    if constexpr (kFrom < kTo) return _mm512_slli_epi16(b, kTo - kFrom);
    if constexpr (kFrom > kTo) return _mm512_srli_epi16(b, kFrom - kTo);
    return b;
  }
  template <int kShift, int kMask>
  static Bytes take(Bytes b) {
    return _mm512_and_si512(move<kShift, 0>(b), _mm512_set1_epi8(kMask));
  }
  static constexpr int kOrAnd = 0xf8;  // a | (b & c)
  template <int kFrom, int kTo, int kMask>
  static Bytes insert(Bytes b, Bytes high) {
    const Bytes moved = move<kFrom, kTo>(high);  // clang's intrinsic is a macro: no commas in it
    return _mm512_ternarylogic_epi32(b, moved, _mm512_set1_epi8(kMask << kTo), kOrAnd);
  }
  static Bytes look_up(const Codebook& book, Bytes codes) {
    const __m128i values = _mm_loadu_si128(reinterpret_cast<const __m128i*>(book.values));
    const __m128i biased = _mm_xor_si128(values, _mm_set1_epi8(static_cast<char>(0x80)));
    return _mm512_shuffle_epi8(_mm512_broadcast_i32x4(biased), codes);
  }

  static Ints dot(Ints sum, Bytes weights, const int8_t* x) {
    return _mm512_dpbusd_epi32(sum, weights, _mm512_set1_epi32(*reinterpret_cast<const Word*>(x)));
  }
  static Ints eight_bit_dot(Ints sum, Bytes weights, const int8_t* x) {
    return dot(sum, weights, x);
  }

  static Ints broadcast(int32_t value) { return _mm512_set1_epi32(value); }
  static Floats broadcast(float value) { return _mm512_set1_ps(value); }
  static Floats zero() { return _mm512_setzero_ps(); }
  static Floats to_float(Ints ints) { return _mm512_cvtepi32_ps(ints); }
  static Floats half(const uint8_t* p) {
    return _mm512_cvtph_ps(_mm256_loadu_si256(reinterpret_cast<const __m256i*>(p)));
  }
  static Floats bfloat(const uint8_t* p) {
    const __m256i bits = _mm256_loadu_si256(reinterpret_cast<const __m256i*>(p));
    return _mm512_castsi512_ps(_mm512_slli_epi32(_mm512_cvtepu16_epi32(bits), 16));
  }
  static Floats low_nibbles(const uint8_t* p) {
    const __m512i both = _mm512_cvtepu8_epi32(sixteen(p));
    return _mm512_cvtepi32_ps(_mm512_and_si512(both, _mm512_set1_epi32(15)));
  }
  static Floats high_nibbles(const uint8_t* p) {
    return _mm512_cvtepi32_ps(_mm512_srli_epi32(_mm512_cvtepu8_epi32(sixteen(p)), 4));
  }
  static Floats unsigned_bytes(const uint8_t* p) {
    return _mm512_cvtepi32_ps(_mm512_cvtepu8_epi32(sixteen(p)));
  }
  static Floats signed_bytes(const uint8_t* p) {
    return _mm512_cvtepi32_ps(_mm512_cvtepi8_epi32(sixteen(p)));
  }
  static Floats multiply(Floats a, Floats b) { return _mm512_mul_ps(a, b); }
  static Floats multiply_add(Floats a, Floats b, Floats c) { return _mm512_fmadd_ps(a, b, c); }
  static void store(float* p, Floats values) { _mm512_storeu_ps(p, values); }
  static void prefetch(const uint8_t* p) {
    _mm_prefetch(reinterpret_cast<const char*>(p), _MM_HINT_T0);
  }

 private:
  using Word [[gnu::may_alias, gnu::aligned(1)]] = int32_t;
  static __m128i sixteen(const uint8_t* p) {
    return _mm_loadu_si128(reinterpret_cast<const __m128i*>(p));
  }
};

}  // namespace

const QuantDot* quant_dot_kernels() { return dot_kernels<Vnni>(); }

}  // namespace chunkllm::avx512_vnni
