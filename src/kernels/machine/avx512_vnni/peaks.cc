#include "kernels/machine/peaks.h"

#include <immintrin.h>

namespace chunkllm::avx512_vnni {
namespace {

constexpr int kSums = 16;  // enough to hide the latency of two units

float byte_rounds(int64_t rounds) {
  __m512i sums[kSums];
  for (__m512i& sum : sums) sum = _mm512_setzero_si512();
  const __m512i x = _mm512_set1_epi8(1);
  __m512i y = _mm512_set1_epi8(2);
  for (int64_t round = 0; round < rounds; ++round) {
    asm volatile("" : "+v"(y));  // a new value each round, for all the compiler knows
    for (__m512i& sum : sums) sum = _mm512_dpbusd_epi32(sum, x, y);
  }
  __m512i all = sums[0];
  for (int i = 1; i < kSums; ++i) all = _mm512_add_epi32(all, sums[i]);
  alignas(64) int32_t lanes[16];
  _mm512_store_si512(lanes, all);
  return static_cast<float>(lanes[0]);
}

}  // namespace

ProductPeak int8_peak() {
  return {.run = byte_rounds, .rounds = 400'000, .flops = kSums * 2.0 * 64};
}

}  // namespace chunkllm::avx512_vnni
