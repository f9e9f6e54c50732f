#include "kernels/attention/kv_rows.h"

#include <cstring>

#include "base/bf16.h"
#include "base/half.h"
#include "kernels/machine/isa.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "kernels/attention/kv_rows.cc"
#include <hwy/foreach_target.h>
#include <hwy/highway.h>

#include "kernels/ops/bf16-inl.h"

HWY_BEFORE_NAMESPACE();
namespace chunkllm {
namespace HWY_NAMESPACE {
namespace {

namespace hn = hwy::HWY_NAMESPACE;

using Tag = hn::CappedTag<float, 8>;  // rows are multiples of 8
using Vector = hn::Vec<Tag>;
constexpr int64_t kStep = HWY_MIN(HWY_LANES(float), 8);

void round_to_bf16(const float* HWY_RESTRICT from, int64_t n, uint16_t* HWY_RESTRICT to) {
  const Tag d;
  const hn::Rebind<uint16_t, Tag> d16;
  for (int64_t i = 0; i < n; i += kStep) {
    hn::StoreU(bf16_words(d, hn::LoadU(d, from + i)), d16, to + i);
  }
}

void round_to_half(const float* HWY_RESTRICT from, int64_t n, uint16_t* HWY_RESTRICT to) {
#if HWY_TARGET == HWY_SCALAR || HWY_TARGET == HWY_EMU128
  for (int64_t i = 0; i < n; ++i) to[i] = float_to_half(from[i]);
#else
  const Tag d;
  const hn::Rebind<hwy::float16_t, Tag> d16;
  auto* halves = reinterpret_cast<hwy::float16_t*>(to);
  for (int64_t i = 0; i < n; i += kStep) {
    hn::StoreU(hn::DemoteTo(d16, hn::LoadU(d, from + i)), d16, halves + i);
  }
#endif
}

void round_to_q8_0(const float* HWY_RESTRICT from, int64_t n, BlockQ8_0* HWY_RESTRICT to) {
  const Tag d;
  const hn::Rebind<int8_t, Tag> d8;
  for (int64_t block = 0; block < n / kSmallBlock; ++block, from += kSmallBlock) {
    auto largest = hn::Zero(d);
    auto zero = hn::Zero(d);  // NaN, if an element is not finite
    for (int64_t i = 0; i < kSmallBlock; i += kStep) {
      const auto x = hn::LoadU(d, from + i);
      largest = hn::Max(largest, hn::Abs(x));
      zero = hn::MulAdd(x, hn::Zero(d), zero);
    }
    const float max = hn::GetLane(hn::MaxOfLanes(d, largest));
    to[block].d = float_to_half(max / 127.0f + hn::GetLane(hn::SumOfLanes(d, zero)));
    const float scale = half_to_float(to[block].d);
    const auto inverse = hn::Set(d, scale > 0.0f ? 1.0f / scale : 0.0f);
    for (int64_t i = 0; i < kSmallBlock; i += kStep) {
      const auto x = hn::Mul(hn::LoadU(d, from + i), inverse);
      hn::StoreU(hn::DemoteTo(d8, hn::NearestInt(x)), d8, to[block].q.data() + i);
    }
  }
}

}  // namespace
}  // namespace HWY_NAMESPACE
}  // namespace chunkllm
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace chunkllm {

namespace {

HWY_EXPORT(round_to_bf16);
HWY_EXPORT(round_to_half);
HWY_EXPORT(round_to_q8_0);

}  // namespace

int64_t kv_row_bytes(KvType type, int64_t head_dim) {
  switch (type) {
    case KvType::kF32:
      return head_dim * 4;
    case KvType::kBf16:
    case KvType::kF16:
      return head_dim * 2;
    case KvType::kQ8_0:
      return head_dim / kSmallBlock * static_cast<int64_t>(sizeof(BlockQ8_0));
  }
  return 0;
}

void round_kv_rows(KvType type, const float* from, int64_t from_stride, int64_t n_rows,
                   int64_t head_dim, void* to) {
  active_isa();
  auto* bytes = static_cast<char*>(to);
  for (int64_t r = 0; r < n_rows; ++r, from += from_stride) {
    switch (type) {
      case KvType::kF32:
        std::memcpy(bytes, from, static_cast<size_t>(head_dim) * sizeof(float));
        break;
      case KvType::kBf16:
        HWY_DYNAMIC_DISPATCH(round_to_bf16)
        (from, head_dim, reinterpret_cast<uint16_t*>(bytes));
        break;
      case KvType::kF16:
        HWY_DYNAMIC_DISPATCH(round_to_half)
        (from, head_dim, reinterpret_cast<uint16_t*>(bytes));
        break;
      case KvType::kQ8_0:
        HWY_DYNAMIC_DISPATCH(round_to_q8_0)
        (from, head_dim, reinterpret_cast<BlockQ8_0*>(bytes));
        break;
    }
    bytes += kv_row_bytes(type, head_dim);
  }
}

}  // namespace chunkllm
#endif  // HWY_ONCE
