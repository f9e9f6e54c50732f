#include "kernels/linear/matvec.h"

#include <hwy/cache_control.h>

#include <algorithm>
#include <cstdint>
#include <cstring>

#include "kernels/linear/for_each_panel.h"
#include "kernels/machine/isa.h"

// Highway includes this file once a target; the order is its own.
// clang-format off
#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "kernels/linear/matvec.cc"
#include <hwy/foreach_target.h>
#include <hwy/highway.h>
// clang-format on

HWY_BEFORE_NAMESPACE();
namespace chunkllm::HWY_NAMESPACE {
namespace {

namespace hn = hwy::HWY_NAMESPACE;

using FloatTag = hn::ScalableTag<float>;
using FloatVec = hn::Vec<FloatTag>;

// The hardware's own prefetch stops at page ends; running this far ahead does not.
constexpr int64_t kPrefetchBytes = 4096;

constexpr int kColumns = 4;  // vectors of outputs that are summed at a time

// Two accumulators an output, for the inputs 2k and 2k + 1: they hide the multiply-add's latency.
struct Sums {
  FloatVec even[kColumns];
  FloatVec odd[kColumns];

  HWY_INLINE explicit Sums(FloatTag d) {
    for (int c = 0; c < kColumns; ++c) even[c] = odd[c] = hn::Zero(d);
  }
  HWY_INLINE void store(FloatTag d, float* y) const {
    for (int c = 0; c < kColumns; ++c) {
      hn::StoreU(hn::Add(even[c], odd[c]), d, y + c * static_cast<int64_t>(hn::Lanes(d)));
    }
  }
};

// y[0, kColumns * lanes) for the columns of a panel that begin at `weights`.
HWY_INLINE void columns_f32(const float* HWY_RESTRICT weights, const float* HWY_RESTRICT x,
                            int64_t n_in, float* HWY_RESTRICT y) {
  const FloatTag d;
  const auto lanes = static_cast<int64_t>(hn::Lanes(d));
  Sums sums(d);
  int64_t k = 0;
  for (; k + 2 <= n_in; k += 2, weights += 2 * kPanelWidth) {
    const FloatVec x0 = hn::Set(d, x[k]);
    const FloatVec x1 = hn::Set(d, x[k + 1]);
    for (int c = 0; c < kColumns; ++c) {
      const float* column = weights + c * lanes;
      sums.even[c] = hn::MulAdd(hn::LoadU(d, column), x0, sums.even[c]);
      sums.odd[c] = hn::MulAdd(hn::LoadU(d, column + kPanelWidth), x1, sums.odd[c]);
    }
  }
  if (k < n_in) {
    const FloatVec x0 = hn::Set(d, x[k]);
    for (int c = 0; c < kColumns; ++c) {
      sums.even[c] = hn::MulAdd(hn::LoadU(d, weights + c * lanes), x0, sums.even[c]);
    }
  }
  sums.store(d, y);
}

// y[0, 16) of a panel of pairs of bfloat16, or as many as kColumns vectors hold. A 32-bit word
// holds the weights of input 2k (lower half) and 2k + 1 (upper half); a bfloat16 that stands in the
// upper half of a word is a float32. Wide vectors cover several pairs of inputs at a time.
HWY_INLINE void columns_bf16(const uint32_t* HWY_RESTRICT weights, const uint16_t* HWY_RESTRICT x,
                             int64_t n_pairs, float* HWY_RESTRICT y) {
  constexpr int64_t kWidth = 16;
  const hn::CappedTag<float, kWidth> d;
  const hn::RebindToUnsigned<decltype(d)> du;
  const auto lanes = static_cast<int64_t>(hn::Lanes(d));
  const int64_t vectors_a_pair = HWY_MIN(kWidth / lanes, int64_t{kColumns});
  const int64_t pairs = kColumns / vectors_a_pair;
  const auto upper_half = hn::Set(du, 0xffff0000u);
  Sums sums(d);
  for (int64_t k = 0; k < n_pairs; k += pairs, weights += pairs * kWidth) {
    for (int64_t c = 0; c < kColumns; ++c) {
      const int64_t row = c / vectors_a_pair;
      const uint32_t* at = weights + row * kWidth + c % vectors_a_pair * lanes;
      uint32_t pair = 0;
      std::memcpy(&pair, x + 2 * (k + row), sizeof(pair));
      const auto x0 = hn::BitCast(d, hn::Set(du, pair << 16));
      const auto x1 = hn::BitCast(d, hn::Set(du, pair & 0xffff0000u));
      const auto words = hn::LoadU(du, at);
      hwy::Prefetch(reinterpret_cast<const char*>(at) + kPrefetchBytes);
      sums.even[c] = hn::MulAdd(hn::BitCast(d, hn::ShiftLeft<16>(words)), x0, sums.even[c]);
      sums.odd[c] = hn::MulAdd(hn::BitCast(d, hn::And(words, upper_half)), x1, sums.odd[c]);
    }
  }
  FloatVec totals[kColumns];
  for (int64_t c = 0; c < kColumns; ++c) {
    const auto sum = hn::Add(sums.even[c], sums.odd[c]);
    FloatVec& total = totals[c % vectors_a_pair];
    total = c < vectors_a_pair ? sum : hn::Add(total, sum);
  }
  for (int64_t v = 0; v < vectors_a_pair; ++v) hn::StoreU(totals[v], d, y + v * lanes);
}

// y[0, kPanelWidth) of one panel.
void panel_f32(const float* panel, const float* x, int64_t n_in, float* y) {
  const auto step = kColumns * static_cast<int64_t>(hn::Lanes(FloatTag()));
  for (int64_t c = 0; c < kPanelWidth; c += step) columns_f32(panel + c, x, n_in, y + c);
}

void panel_bf16(const uint16_t* panel, const uint16_t* x, int64_t n_in, float* y) {
  const auto* words = reinterpret_cast<const uint32_t*>(panel);
  const auto step = kColumns * static_cast<int64_t>(hn::Lanes(FloatTag()));
  for (int64_t o = 0; o < 16; o += step) columns_bf16(words + o, x, n_in / 2, y + o);
}

}  // namespace
}  // namespace chunkllm::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace chunkllm {
namespace {

HWY_EXPORT(panel_f32);
HWY_EXPORT(panel_bf16);

template <typename Element, typename Kernel>
void run_panels(const PanelLayout& layout, const Element* panels, int64_t n_in, const Element* x,
                float* y, Kernel kernel) {
  const auto panel_bytes = layout.panel_elements() * static_cast<int64_t>(sizeof(Element));
  for_each_panel(layout.n_panels(), panel_bytes, [&](int64_t p) {
    const int64_t begin = p * layout.width;
    const Element* panel = panels + p * layout.panel_elements();
    if (begin + layout.width <= layout.n_out) {
      kernel(panel, x, n_in, y + begin);
    } else {
      float last[kPanelWidth];
      kernel(panel, x, n_in, last);
      std::copy(last, last + (layout.n_out - begin), y + begin);
    }
  });
}

}  // namespace

void matvec_f32(const PanelLayout& layout, const float* panels, const float* x, float* y) {
  active_isa();
  run_panels(layout, panels, layout.n_in, x, y, HWY_DYNAMIC_DISPATCH(panel_f32));
}

void matvec_bf16(const PanelLayout& layout, const uint16_t* panels, const uint16_t* x, float* y) {
  active_isa();
  run_panels(layout, panels, layout.padded_n_in, x, y, HWY_DYNAMIC_DISPATCH(panel_bf16));
}

}  // namespace chunkllm
#endif  // HWY_ONCE
