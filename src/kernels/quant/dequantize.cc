#include "kernels/quant/dequantize.h"

#include <algorithm>
#include <cstdint>

#include "base/error.h"
#include "kernels/machine/isa.h"

// Highway includes this file once a target; the order is its own.
// clang-format off
#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "kernels/quant/dequantize.cc"
#include <hwy/foreach_target.h>
#include <hwy/highway.h>
// clang-format on

HWY_BEFORE_NAMESPACE();
namespace chunkllm::HWY_NAMESPACE {
namespace {

namespace hn = hwy::HWY_NAMESPACE;

// A vector holds consecutive outputs of a panel; vectors of more than 16 lanes would be two panels.
using FloatTag = hn::CappedTag<float, kQuantPanelOutputs>;
using FloatVec = hn::Vec<FloatTag>;
using IntTag = hn::RebindToSigned<FloatTag>;
using IntVec = hn::Vec<IntTag>;

HWY_INLINE FloatVec halves(const uint8_t* p) {
  const hn::Rebind<hwy::float16_t, FloatTag> dh;
  return hn::PromoteTo(FloatTag(), hn::LoadU(dh, reinterpret_cast<const hwy::float16_t*>(p)));
}

template <typename Byte>
HWY_INLINE FloatVec bytes(const uint8_t* p) {
  const hn::Rebind<Byte, IntTag> db;
  const auto narrow = hn::LoadU(db, reinterpret_cast<const Byte*>(p));
  return hn::ConvertTo(FloatTag(), hn::PromoteTo(IntTag(), narrow));
}

// value = integer * scale + shift for the inputs of half `h` (16) of block b, at outputs `o`
// onwards. Every product is exact: 11 + 7 + 6 bits at most.
struct Line {
  FloatVec scale;
  FloatVec shift;
};

template <DType kType>
HWY_INLINE Line line(const uint8_t* unit, int64_t b, int64_t h, int64_t o) {
  using Format = QuantFormat<kType>;
  const FloatTag d;
  if constexpr (!Format::kSuper) {
    const FloatVec scale = halves(unit + Format::kD + 32 * b + 2 * o);
    return {scale, hn::Mul(scale, hn::Set(d, -static_cast<float>(Format::kOffset)))};
  } else {
    const uint8_t* scales = unit + Format::kScales + 16 * Format::kScalesPerBlock * b + o;
    const FloatVec unit_scale = halves(unit + Format::kD + 2 * o);
    if constexpr (Format::kHasMin) {
      const FloatVec min = hn::Mul(halves(unit + Format::kDmin + 2 * o),
                                   bytes<uint8_t>(unit + Format::kMins + 16 * b + o));
      return {hn::Mul(unit_scale, bytes<uint8_t>(scales)), hn::Neg(min)};
    } else {
      const FloatVec scale = hn::Mul(unit_scale, bytes<int8_t>(scales + 16 * h));
      return {scale, hn::Mul(scale, hn::Set(d, -static_cast<float>(Format::kOffset)))};
    }
  }
}

// The words (four inputs' integers, in the low bits of their bytes once shifted by the nibble) of
// group g of block b.
template <DType kType>
HWY_INLINE IntVec words(const uint8_t* unit, int64_t b, int64_t g, int64_t o) {
  using Format = QuantFormat<kType>;
  const IntTag d;
  const auto load = [d, o](const uint8_t* vector) {
    return hn::LoadU(d, reinterpret_cast<const int32_t*>(vector) + o);
  };
  const auto shift_right = [](IntVec v, int64_t count) {
    return hn::ShiftRightSame(v, static_cast<int>(count));
  };
  if constexpr (Format::kBits == 8) {
    return load(unit + (8 * b + g) * kQuantVectorBytes);
  } else {
    const IntVec both = load(unit + (4 * b + g % 4) * kQuantVectorBytes);
    IntVec q = hn::And(shift_right(both, g / 4 * 4), hn::Set(d, 0x0f0f0f0f));
    const uint8_t* high = unit + Format::kHigh + b * Format::kHighBlock;
    if constexpr (Format::kBits == 5) {
      const IntVec bits = hn::And(shift_right(load(high), g), hn::Set(d, 0x01010101));
      q = hn::Or(q, hn::ShiftLeft<4>(bits));
    }
    if constexpr (Format::kBits == 6) {
      const IntVec pairs = load(high + g / 4 * kQuantVectorBytes);
      const IntVec bits = hn::And(shift_right(pairs, g % 4 * 2), hn::Set(d, 0x03030303));
      q = hn::Or(q, hn::ShiftLeft<4>(bits));
    }
    return q;
  }
}

// Calls use(i, weights) for every input i in [0, n_in) in order, for outputs [o, o + lanes).
template <DType kType, class Use>
HWY_INLINE void for_each_input(const uint8_t* unit, int64_t n_in, int64_t o, const Use& use) {
  using Format = QuantFormat<kType>;
  const FloatTag d;
  const IntTag di;
  const IntVec byte = hn::Set(di, 0xff);
  for (int64_t begin = 0; begin < n_in; begin += kQuantBlock) {
    const int64_t b = begin / kQuantBlock % Format::kBlocks;
    for (int64_t h = 0; h < 2; ++h) {
      const Line to_value = line<kType>(unit, b, h, o);
      const auto value = [&](IntVec integers) {
        return hn::MulAdd(hn::ConvertTo(d, integers), to_value.scale, to_value.shift);
      };
      for (int64_t g = 4 * h; g < 4 * h + 4; ++g) {
        const IntVec q = words<kType>(unit, b, g, o);
        const int64_t i = begin + 4 * g;
        use(i, value(hn::And(q, byte)));
        use(i + 1, value(hn::And(hn::ShiftRight<8>(q), byte)));
        use(i + 2, value(hn::And(hn::ShiftRight<16>(q), byte)));
        use(i + 3, value(hn::And(hn::ShiftRight<24>(q), byte)));
      }
    }
    if (b == Format::kBlocks - 1) unit += Format::kUnitBytes;
  }
}

template <DType kType>
void multiply(const uint8_t* panel, int64_t n_in, const float* HWY_RESTRICT x,
              float* HWY_RESTRICT y) {
  const FloatTag d;
  for (int64_t o = 0; o < kQuantPanelOutputs; o += static_cast<int64_t>(hn::Lanes(d))) {
    FloatVec sums[4] = {hn::Zero(d), hn::Zero(d), hn::Zero(d), hn::Zero(d)};
    for_each_input<kType>(panel, n_in, o, [&](int64_t i, FloatVec weights) {
      sums[i % 4] = hn::MulAdd(weights, hn::Set(d, x[i]), sums[i % 4]);
    });
    hn::StoreU(hn::Add(hn::Add(sums[0], sums[1]), hn::Add(sums[2], sums[3])), d, y + o);
  }
}

template <DType kType>
void expand(const uint8_t* panel, int64_t n_in, float* HWY_RESTRICT target, int64_t stride) {
  const FloatTag d;
  for (int64_t o = 0; o < kQuantPanelOutputs; o += static_cast<int64_t>(hn::Lanes(d))) {
    for_each_input<kType>(panel, n_in, o, [&](int64_t i, FloatVec weights) {
      hn::StoreU(weights, d, target + i * stride + o);
    });
  }
}

// Calls kernel.operator()<type>().
template <class Kernel>
void with_type(DType dtype, const Kernel& kernel) {
  switch (dtype) {
    case DType::kQ8_0:
      return kernel.template operator()<DType::kQ8_0>();
    case DType::kQ4_0:
      return kernel.template operator()<DType::kQ4_0>();
    case DType::kQ4K:
      return kernel.template operator()<DType::kQ4K>();
    case DType::kQ5K:
      return kernel.template operator()<DType::kQ5K>();
    case DType::kQ6K:
      return kernel.template operator()<DType::kQ6K>();
    case DType::kF32:
    case DType::kF16:
    case DType::kBf16:
    case DType::kI32:
    case DType::kI64:
    case DType::kU8:
      break;
  }
  fail(ErrorCode::kUnsupported, "{} is not a quantised type", dtype_name(dtype));
}

void multiply_panel(DType dtype, const uint8_t* panel, int64_t n_in, const float* x, float* y) {
  with_type(dtype, [&]<DType kType>() { multiply<kType>(panel, n_in, x, y); });
}

void expand_panel(DType dtype, const uint8_t* panel, int64_t n_in, float* target, int64_t stride) {
  with_type(dtype, [&]<DType kType>() { expand<kType>(panel, n_in, target, stride); });
}

}  // namespace
}  // namespace chunkllm::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace chunkllm {
namespace {

HWY_EXPORT(multiply_panel);
HWY_EXPORT(expand_panel);

}  // namespace

void quant_panel_f32(const QuantPanels& matrix, int64_t panel, const float* x, float* y) {
  HWY_DYNAMIC_DISPATCH(multiply_panel)
  (matrix.dtype, matrix.data + panel * matrix.panel_bytes, matrix.n_in, x, y);
}

void expand_panel_f32(const QuantPanels& matrix, int64_t panel, float* target, int64_t stride) {
  HWY_DYNAMIC_DISPATCH(expand_panel)
  (matrix.dtype, matrix.data + panel * matrix.panel_bytes, matrix.n_in, target, stride);
}

}  // namespace chunkllm
#endif  // HWY_ONCE
