// AVX2 with VNNI, as processors for laptops have it: one instruction multiplies 32 bytes and adds
// fours of products.
#include "kernels/quant/dot.h"

#include <immintrin.h>

#include <utility>

namespace chunkllm::avx2_vnni {
namespace {

#include "kernels/quant/avx2/vectors-inl.h"
#include "kernels/quant/dot-inl.h"

struct Avx2Vnni : Avx2 {
  static constexpr int kEightBitOffset = 128;
  static constexpr bool kHasPairs = false;

  static Ints dot(Ints sum, Bytes weights, const int8_t* x) {
    const __m256i four = broadcast_word(x);
    return {_mm256_dpbusd_avx_epi32(sum.lower, weights.lower, four),
            _mm256_dpbusd_avx_epi32(sum.upper, weights.upper, four)};
  }
  static Ints eight_bit_dot(Ints sum, Bytes weights, const int8_t* x) {
    return dot(sum, weights, x);
  }
};

}  // namespace

const QuantDot* quant_dot_kernels() { return dot_kernels<Avx2Vnni>(); }

}  // namespace chunkllm::avx2_vnni
