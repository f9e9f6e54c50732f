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

// Pairs of products added in 16 bits, as the products of few bits are (kernels/quant/dot.h).
float byte_rounds(int64_t rounds) {
  __m256i sums[kSums];
  for (__m256i& sum : sums) sum = _mm256_setzero_si256();
  const __m256i x = _mm256_set1_epi8(1);
  __m256i y = _mm256_set1_epi8(2);
  for (int64_t round = 0; round < rounds; ++round) {
    asm volatile("" : "+x"(y));
    for (__m256i& sum : sums) sum = _mm256_add_epi16(sum, _mm256_maddubs_epi16(x, y));
  }
  __m256i all = sums[0];
  for (int i = 1; i < kSums; ++i) all = _mm256_add_epi16(all, sums[i]);
  return static_cast<float>(_mm256_extract_epi16(all, 0));
}

}  // namespace

ProductPeak int8_peak() {
  return {.run = byte_rounds, .rounds = 500'000, .flops = kSums * 2.0 * 32};
}

ProductPeak f32_peak() {
  return {.run = multiply_add_rounds, .rounds = 500'000, .flops = kSums * 2.0 * 8};
}

}  // namespace chunkllm::avx2
