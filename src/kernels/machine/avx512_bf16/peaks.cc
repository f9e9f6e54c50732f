#include "kernels/machine/peaks.h"

#include <immintrin.h>

namespace chunkllm::avx512_bf16 {
namespace {

constexpr int kSums = 16;  // enough to hide the latency of two units

float sum_of(const __m512* sums) {
  __m512 all = sums[0];
  for (int i = 1; i < kSums; ++i) all = _mm512_add_ps(all, sums[i]);
  return _mm512_cvtss_f32(all);
}

float bf16_dot_rounds(int64_t rounds) {
  __m512 sums[kSums];
  for (__m512& sum : sums) sum = _mm512_setzero_ps();
  const __m512i x = _mm512_set1_epi16(0x3f00);
  __m512i y = _mm512_set1_epi16(0x3e80);
  for (int64_t round = 0; round < rounds; ++round) {
    asm volatile("" : "+v"(y));
    for (__m512& sum : sums) {
      sum = _mm512_dpbf16_ps(sum, reinterpret_cast<__m512bh>(x), reinterpret_cast<__m512bh>(y));
    }
  }
  return sum_of(sums);
}

}  // namespace

ProductPeak bf16_peak() {
  return {.run = bf16_dot_rounds, .rounds = 200'000, .flops = kSums * 2.0 * 32};
}

}  // namespace chunkllm::avx512_bf16
