#include "kernels/machine/peaks.h"

#include <immintrin.h>

namespace chunkllm::avx2_vnni {
namespace {

constexpr int kSums = 12;

float byte_rounds(int64_t rounds) {
  __m256i sums[kSums];
  for (__m256i& sum : sums) sum = _mm256_setzero_si256();
  const __m256i x = _mm256_set1_epi8(1);
  __m256i y = _mm256_set1_epi8(2);
  for (int64_t round = 0; round < rounds; ++round) {
    asm volatile("" : "+x"(y));  // a new value each round, for all the compiler knows
    for (__m256i& sum : sums) sum = _mm256_dpbusd_avx_epi32(sum, x, y);
  }
  __m256i all = sums[0];
  for (int i = 1; i < kSums; ++i) all = _mm256_add_epi32(all, sums[i]);
  return static_cast<float>(_mm256_extract_epi32(all, 0));
}

}  // namespace

ProductPeak int8_peak() {
  return {.run = byte_rounds, .rounds = 500'000, .flops = kSums * 2.0 * 32};
}

}  // namespace chunkllm::avx2_vnni
