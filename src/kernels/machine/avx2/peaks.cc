#include "kernels/machine/peaks.h"

#include <immintrin.h>

namespace chunkllm::avx2 {
namespace {

constexpr int kSums = 12;

float multiply_add_rounds(int64_t rounds) {
  __m256 sums[kSums];
  for (__m256& sum : sums) sum = _mm256_setzero_ps();
  const __m256 x = _mm256_set1_ps(0.5f);
  __m256 y = _mm256_set1_ps(0.25f);
  for (int64_t round = 0; round < rounds; ++round) {
    asm volatile("" : "+x"(y));  // a new value each round, for all the compiler knows
    for (__m256& sum : sums) sum = _mm256_fmadd_ps(x, y, sum);
  }
  __m256 all = sums[0];
  for (int i = 1; i < kSums; ++i) all = _mm256_add_ps(all, sums[i]);
  return _mm256_cvtss_f32(all);
}

}  // namespace

ProductPeak f32_peak() {
  return {.run = multiply_add_rounds, .rounds = 500'000, .flops = kSums * 2.0 * 8};
}

}  // namespace chunkllm::avx2
