#include "kernels/machine/peaks.h"

#include <immintrin.h>

namespace chunkllm::avx512 {
namespace {

constexpr int kSums = 16;  // enough to hide the latency of two units

float sum_of(const __m512* sums) {
  __m512 all = sums[0];
  for (int i = 1; i < kSums; ++i) all = _mm512_add_ps(all, sums[i]);
  return _mm512_cvtss_f32(all);
}

float multiply_add_rounds(int64_t rounds) {
  __m512 sums[kSums];
  for (__m512& sum : sums) sum = _mm512_setzero_ps();
  const __m512 x = _mm512_set1_ps(0.5f);
  __m512 y = _mm512_set1_ps(0.25f);
  for (int64_t round = 0; round < rounds; ++round) {
    asm volatile("" : "+v"(y));  // a new value each round, for all the compiler knows
    for (__m512& sum : sums) sum = _mm512_fmadd_ps(x, y, sum);
  }
  return sum_of(sums);
}

}  // namespace

ProductPeak f32_peak() {
  return {.run = multiply_add_rounds, .rounds = 400'000, .flops = kSums * 2.0 * 16};
}

}  // namespace chunkllm::avx512
