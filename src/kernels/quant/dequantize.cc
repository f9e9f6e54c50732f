#include "kernels/quant/dequantize.h"

#include <algorithm>
#include <cstdint>
#include <utility>

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

HWY_INLINE FloatVec bfloats(const uint8_t* p) {
  const hn::Rebind<uint16_t, IntTag> d16;
  const auto bits = hn::LoadU(d16, reinterpret_cast<const uint16_t*>(p));
  const hn::RebindToUnsigned<FloatTag> d32;
  return hn::BitCast(FloatTag(), hn::ShiftLeft<16>(hn::PromoteTo(d32, bits)));
}

template <typename Byte>
HWY_INLINE IntVec bytes(const uint8_t* p) {
  const hn::Rebind<Byte, IntTag> db;
  return hn::PromoteTo(IntTag(), hn::LoadU(db, reinterpret_cast<const Byte*>(p)));
}

HWY_INLINE FloatVec floats(IntVec integers) { return hn::ConvertTo(FloatTag(), integers); }

// value = number * scale + shift for the inputs of sub-block `s` of block b, at outputs `o`
// onwards. Every product is exact: 11 + 7 + 6 bits at most.
struct AffineMap {
  FloatVec scale;
  FloatVec shift;
};

template <int kIndex>
HWY_INLINE AffineMap affine_map(const uint8_t* unit, int64_t b, int64_t s, int64_t o) {
  using Unit = UnitLayout<kIndex>;
  const FloatTag d;
  const uint8_t* unit_scale = unit + Unit::kD + (Unit::kSuper ? 0 : 32 * b) + 2 * o;
  FloatVec scale =
      Unit::kCodes.scale == ScaleKind::kBf16 ? bfloats(unit_scale) : halves(unit_scale);
  FloatVec shift = hn::Zero(d);
  if constexpr (Unit::kHasMin) {
    shift = halves(unit + Unit::kDmin + (Unit::kSuper ? 0 : 32 * b) + 2 * o);
  }
  if constexpr (Unit::kSuper) {
    const int64_t at = 16 * (Unit::kSubBlocks * b + s) + o;
    if constexpr (Unit::kCodes.scale == ScaleKind::kSigned) {
      scale = hn::Mul(scale, floats(bytes<int8_t>(unit + Unit::kScales + at)));
    } else if constexpr (Unit::kCodes.scale == ScaleKind::kNibble) {
      const IntVec both = bytes<uint8_t>(unit + Unit::kScales + at);
      scale = hn::Mul(scale, floats(hn::And(both, hn::Set(IntTag(), 15))));
      shift = hn::Neg(hn::Mul(shift, floats(hn::ShiftRight<4>(both))));
    } else {
      scale = hn::Mul(scale, floats(bytes<uint8_t>(unit + Unit::kScales + at)));
      if constexpr (Unit::kHasMin) {
        shift = hn::Neg(hn::Mul(shift, floats(bytes<uint8_t>(unit + Unit::kMins + at))));
      }
    }
  }
  if constexpr (Unit::kCodes.offset != 0) {
    shift = hn::Mul(scale, hn::Set(d, -static_cast<float>(Unit::kCodes.offset)));
  }
  return {scale, shift};
}

// Words of four inputs' bits of group g in a plane of kBits bits, in the low bits of their bytes.
template <int kBits>
HWY_INLINE IntVec plane_words(const uint8_t* plane, int64_t g, int64_t o) {
  const IntTag d;
  constexpr int kPerVector = 8 / kBits;  // groups
  constexpr bool kHalves = kBits == 4;   // of the block: g and g + 4 share a vector
  const int64_t v = kHalves ? g % 4 : g / kPerVector;
  const int64_t shift = kHalves ? g / 4 * 4 : g % kPerVector * kBits;
  const IntVec words =
      hn::LoadU(d, reinterpret_cast<const int32_t*>(plane + v * kQuantVectorBytes) + o);
  if constexpr (kBits == 8) {
    return words;
  } else {
    return hn::And(hn::ShiftRightSame(words, static_cast<int>(shift)),
                   hn::Set(d, ((1 << kBits) - 1) * 0x01010101));
  }
}

// The codebook's numbers, a byte each, for words of codes.
HWY_INLINE IntVec look_up(const Codebook& book, IntVec codes) {
#if HWY_TARGET == HWY_SCALAR
  const auto word = static_cast<uint32_t>(hn::GetLane(codes));
  uint32_t numbers = 0;
  for (int byte = 0; byte < 32; byte += 8) {
    numbers |= uint32_t{static_cast<uint8_t>(book.values[word >> byte & 15])} << byte;
  }
  return hn::Set(IntTag(), static_cast<int32_t>(numbers));
#else
  const hn::Repartition<uint8_t, IntTag> d;
  const auto table = hn::LoadDup128(d, reinterpret_cast<const uint8_t*>(book.values));
  return hn::BitCast(IntTag(), hn::TableLookupBytes(table, hn::BitCast(d, codes)));
#endif
}

// The words (four inputs' codes, or the codebook's numbers of them) of group g of block b.
template <int kIndex>
HWY_INLINE IntVec words(const uint8_t* unit, int64_t b, int64_t g, int64_t o) {
  using Unit = UnitLayout<kIndex>;
  IntVec codes = plane_words<Unit::kLowBits>(unit + b * Unit::kLowBlock, g, o);
  if constexpr (Unit::kHighBits > 0) {
    const uint8_t* high = unit + Unit::kHigh + b * Unit::kHighBlock;
    codes = hn::Or(codes, hn::ShiftLeft<Unit::kLowBits>(plane_words<Unit::kHighBits>(high, g, o)));
  }
  if constexpr (Unit::kCodes.has_codebook) {
    static constexpr Codebook kBook = Unit::kCodes.codebook;
    return look_up(kBook, codes);
  } else {
    return codes;
  }
}

// Byte kByte of each word as an integer.
template <bool kSigned, int kByte>
HWY_INLINE IntVec byte_of(IntVec words) {
  if constexpr (kSigned) return hn::ShiftRight<24>(hn::ShiftLeft<24 - 8 * kByte>(words));
  return hn::And(hn::ShiftRight<8 * kByte>(words), hn::Set(IntTag(), 0xff));
}

// Calls use(i, weights) for every input i in [0, n_in) in order, for outputs [o, o + lanes).
template <int kIndex, class Use>
HWY_INLINE void for_each_input(const uint8_t* unit, int64_t n_in, int64_t o, const Use& use) {
  using Unit = UnitLayout<kIndex>;
  constexpr bool kSigned = Unit::kCodes.has_codebook;
  for (int64_t begin = 0; begin < n_in; begin += kQuantBlock) {
    const int64_t b = begin / kQuantBlock % Unit::kBlocks;
    for (int64_t s = 0; s < Unit::kSubBlocks; ++s) {
      const AffineMap map = affine_map<kIndex>(unit, b, s, o);
      const auto value = [&](IntVec numbers) {
        return hn::MulAdd(floats(numbers), map.scale, map.shift);
      };
      constexpr int64_t kGroups = kQuantGroups / Unit::kSubBlocks;
      for (int64_t g = kGroups * s; g < kGroups * (s + 1); ++g) {
        const IntVec q = words<kIndex>(unit, b, g, o);
        const int64_t i = begin + 4 * g;
        use(i, value(byte_of<kSigned, 0>(q)));
        use(i + 1, value(byte_of<kSigned, 1>(q)));
        use(i + 2, value(byte_of<kSigned, 2>(q)));
        use(i + 3, value(byte_of<kSigned, 3>(q)));
      }
    }
    if (b == Unit::kBlocks - 1) unit += Unit::kUnitBytes;
  }
}

template <int kIndex>
void multiply(const uint8_t* panel, int64_t n_in, const float* HWY_RESTRICT x,
              float* HWY_RESTRICT y) {
  const FloatTag d;
  for (int64_t o = 0; o < kQuantPanelOutputs; o += static_cast<int64_t>(hn::Lanes(d))) {
    FloatVec sums[4] = {hn::Zero(d), hn::Zero(d), hn::Zero(d), hn::Zero(d)};
    for_each_input<kIndex>(panel, n_in, o, [&](int64_t i, FloatVec weights) {
      sums[i % 4] = hn::MulAdd(weights, hn::Set(d, x[i]), sums[i % 4]);
    });
    hn::StoreU(hn::Add(hn::Add(sums[0], sums[1]), hn::Add(sums[2], sums[3])), d, y + o);
  }
}

template <int kIndex>
void expand(const uint8_t* panel, int64_t n_in, float* HWY_RESTRICT target, int64_t stride) {
  const FloatTag d;
  for (int64_t o = 0; o < kQuantPanelOutputs; o += static_cast<int64_t>(hn::Lanes(d))) {
    for_each_input<kIndex>(panel, n_in, o, [&](int64_t i, FloatVec weights) {
      hn::StoreU(weights, d, target + i * stride + o);
    });
  }
}

using Multiply = void (*)(const uint8_t* panel, int64_t n_in, const float* x, float* y);
using Expand = void (*)(const uint8_t* panel, int64_t n_in, float* target, int64_t stride);

template <int... kIndex>
Multiply multiply_kernel(int index, std::integer_sequence<int, kIndex...> /*rows*/) {
  static constexpr Multiply kKernels[] = {multiply<layout_index(kIndex)>...};
  return kKernels[index];
}

template <int... kIndex>
Expand expand_kernel(int index, std::integer_sequence<int, kIndex...> /*rows*/) {
  static constexpr Expand kKernels[] = {expand<layout_index(kIndex)>...};
  return kKernels[index];
}

using AllRows = std::make_integer_sequence<int, kNumQuantFormats>;

void multiply_panel(int index, const uint8_t* panel, int64_t n_in, const float* x, float* y) {
  multiply_kernel(index, AllRows())(panel, n_in, x, y);
}

void expand_panel(int index, const uint8_t* panel, int64_t n_in, float* target, int64_t stride) {
  expand_kernel(index, AllRows())(panel, n_in, target, stride);
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
  (quant_index(matrix.dtype), matrix.data + panel * matrix.panel_bytes, matrix.n_in, x, y);
}

void expand_panel_f32(const QuantPanels& matrix, int64_t panel, float* target, int64_t stride) {
  HWY_DYNAMIC_DISPATCH(expand_panel)
  (quant_index(matrix.dtype), matrix.data + panel * matrix.panel_bytes, matrix.n_in, target,
   stride);
}

}  // namespace chunkllm
#endif  // HWY_ONCE
