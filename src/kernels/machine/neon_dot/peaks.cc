#include "kernels/machine/peaks.h"

#include <arm_neon.h>

namespace chunkllm::neon_dot {
namespace {

constexpr int kSums = 16;

float byte_rounds(int64_t rounds) {
  int32x4_t sums[kSums];
  for (int32x4_t& sum : sums) sum = vdupq_n_s32(0);
  const int8x16_t x = vdupq_n_s8(1);
  int8x16_t y = vdupq_n_s8(2);
  for (int64_t round = 0; round < rounds; ++round) {
    asm volatile("" : "+w"(y));  // a new value each round, for all the compiler knows
    for (int32x4_t& sum : sums) sum = vdotq_s32(sum, x, y);
  }
  int32x4_t all = sums[0];
  for (int i = 1; i < kSums; ++i) all = vaddq_s32(all, sums[i]);
  return static_cast<float>(vgetq_lane_s32(all, 0));
}

}  // namespace

ProductPeak int8_peak() {
  return {.run = byte_rounds, .rounds = 400'000, .flops = kSums * 2.0 * 16};
}

}  // namespace chunkllm::neon_dot
