// Rounding to bfloat16 with Highway's vectors.

#if defined(CHUNKLLM_KERNELS_OPS_BF16_INL_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef CHUNKLLM_KERNELS_OPS_BF16_INL_H_
#undef CHUNKLLM_KERNELS_OPS_BF16_INL_H_
#else
#define CHUNKLLM_KERNELS_OPS_BF16_INL_H_
#endif

#include <hwy/highway.h>

#include <cstdint>

HWY_BEFORE_NAMESPACE();
namespace chunkllm {
namespace HWY_NAMESPACE {

// The bits of x as bfloat16, by the rule of to_bf16(): to nearest, ties to even, NaN stays (quiet)
// NaN.
template <typename D>
HWY_INLINE auto bf16_words(D /*d*/, hwy::HWY_NAMESPACE::Vec<D> x) {
  namespace hn = hwy::HWY_NAMESPACE;
  const hn::RebindToUnsigned<D> du;
  const hn::RebindToSigned<D> di;
  const hn::Rebind<uint16_t, D> d16;
  const auto bits = hn::BitCast(du, x);
  const auto upper = hn::ShiftRight<16>(bits);
  const auto tie = hn::And(upper, hn::Set(du, 1u));
  const auto rounded = hn::ShiftRight<16>(hn::Add(bits, hn::Add(tie, hn::Set(du, 0x7fffu))));
  const auto quiet = hn::Or(upper, hn::Set(du, 0x0040u));
  const auto is_nan = hn::RebindMask(du, hn::IsNaN(x));
  return hn::DemoteTo(d16, hn::BitCast(di, hn::IfThenElse(is_nan, quiet, rounded)));
}

}  // namespace HWY_NAMESPACE
}  // namespace chunkllm
HWY_AFTER_NAMESPACE();

#endif
