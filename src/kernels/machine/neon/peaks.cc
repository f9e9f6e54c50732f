#include "kernels/machine/peaks.h"

#include <arm_neon.h>

namespace chunkllm::neon {
namespace {

constexpr int kSums = 16;

float multiply_add_rounds(int64_t rounds) {
  float32x4_t sums[kSums];
  for (float32x4_t& sum : sums) sum = vdupq_n_f32(0.0f);
  const float32x4_t x = vdupq_n_f32(0.5f);
  float32x4_t y = vdupq_n_f32(0.25f);
  for (int64_t round = 0; round < rounds; ++round) {
    asm volatile("" : "+w"(y));  // a new value each round, for all the compiler knows
    for (float32x4_t& sum : sums) sum = vfmaq_f32(sum, x, y);
  }
  float32x4_t all = sums[0];
  for (int i = 1; i < kSums; ++i) all = vaddq_f32(all, sums[i]);
  return vgetq_lane_f32(all, 0);
}

}  // namespace

ProductPeak f32_peak() {
  return {.run = multiply_add_rounds, .rounds = 400'000, .flops = kSums * 2.0 * 4};
}

}  // namespace chunkllm::neon
