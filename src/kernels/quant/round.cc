#include "kernels/quant/round.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "kernels/quant/round.cc"
#include <hwy/foreach_target.h>
#include <hwy/highway.h>

#include <algorithm>
#include <limits>
#include <vector>

#include "base/thread_pool.h"
#include "kernels/machine/isa.h"

HWY_BEFORE_NAMESPACE();
namespace chunkllm::HWY_NAMESPACE {
namespace {

namespace hn = hwy::HWY_NAMESPACE;

using FloatTag = hn::CappedTag<float, 16>;

// One block of 32 values at x; `sums` of each half of it.
HWY_INLINE void round_block(const float* HWY_RESTRICT x, int8_t* HWY_RESTRICT values,
                            float* HWY_RESTRICT scale, int32_t* HWY_RESTRICT sums) {
  constexpr float kSmallest = 0x1p-100f;
  constexpr int kHalf = kQuantBlock / 2;
  const FloatTag d;
  const hn::RebindToSigned<FloatTag> di;
  const hn::Rebind<int8_t, FloatTag> d8;
  const int lanes = static_cast<int>(hn::Lanes(d));
  auto highest = hn::Zero(d);
  auto not_finite = hn::Zero(d);  // NaN where an element is not finite
  for (int i = 0; i < kQuantBlock; i += lanes) {
    const auto v = hn::LoadU(d, x + i);
    highest = hn::Max(highest, hn::Abs(v));
    not_finite = hn::MulAdd(v, hn::Zero(d), not_finite);
  }
  const bool finite = hn::AllTrue(d, hn::Eq(not_finite, hn::Zero(d)));
  const float largest = finite ? hn::GetLane(hn::MaxOfLanes(d, highest)) : 0.0f;
  if (largest < kSmallest) {
    std::fill_n(values, kQuantBlock, int8_t{0});
    sums[0] = sums[1] = 0;
    *scale = finite ? 0.0f : std::numeric_limits<float>::quiet_NaN();
    return;
  }
  *scale = largest / 127.0f;
  const auto inverse = hn::Set(d, 127.0f / largest);
  for (int half = 0; half < 2; ++half) {
    auto sum = hn::Zero(di);
    for (int i = half * kHalf; i < (half + 1) * kHalf; i += lanes) {
      const auto rounded = hn::NearestInt(hn::Mul(hn::LoadU(d, x + i), inverse));
      hn::StoreU(hn::DemoteTo(d8, rounded), d8, values + i);
      sum = hn::Add(sum, rounded);
    }
    sums[half] = hn::GetLane(hn::SumOfLanes(di, sum));
  }
}

void round_blocks(const float* x, int64_t n_blocks, int8_t* values, float* scales, int32_t* sums) {
  for (int64_t b = 0; b < n_blocks; ++b) {
    round_block(x + b * kQuantBlock, values + b * kQuantBlock, scales + b, sums + 2 * b);
  }
}

}  // namespace
}  // namespace chunkllm::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace chunkllm {
namespace {

HWY_EXPORT(round_blocks);

}  // namespace

Int8Rows round_to_int8(const float* x, int64_t n_tokens, int64_t n_in) {
  constexpr int64_t kBlocksAtOnce = 256 / kQuantBlock;
  constexpr int64_t kMinParallelInputs = 1 << 16;
  constexpr int64_t kTokensAtOnce = 16;
  thread_local std::vector<int8_t> values;
  thread_local std::vector<float> scales;
  thread_local std::vector<int32_t> sums;
  const int64_t n_used = n_in / kQuantBlock;
  const int64_t n_blocks = (n_used + kBlocksAtOnce - 1) / kBlocksAtOnce * kBlocksAtOnce;
  const auto n_all = static_cast<size_t>(n_tokens * n_blocks);
  if (scales.size() < n_all) {
    values.resize(n_all * kQuantBlock);
    scales.resize(n_all);
    sums.resize(2 * n_all);
  }
  int8_t* const to_values = values.data();
  float* const to_scales = scales.data();
  int32_t* const to_sums = sums.data();
  active_isa();  // first: this caps Highway's targets
  const auto round = HWY_DYNAMIC_DISPATCH(round_blocks);
  const bool parallel = n_tokens * n_in >= kMinParallelInputs;
  parallel_for(n_tokens, parallel ? kTokensAtOnce : n_tokens, [&](int64_t begin, int64_t end, int) {
    for (int64_t t = begin; t < end; ++t) {
      const int64_t first = t * n_blocks;
      round(x + t * n_in, n_used, to_values + first * kQuantBlock, to_scales + first,
            to_sums + 2 * first);
      const int64_t n_padding = n_blocks - n_used;
      std::fill_n(to_values + (first + n_used) * kQuantBlock, n_padding * kQuantBlock, int8_t{0});
      std::fill_n(to_scales + first + n_used, n_padding, 0.0f);
      std::fill_n(to_sums + 2 * (first + n_used), 2 * n_padding, 0);
    }
  });
  return {values.data(), scales.data(), sums.data(), n_tokens, n_blocks};
}

}  // namespace chunkllm
#endif  // HWY_ONCE
