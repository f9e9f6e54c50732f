// 64-bit ARM with dot products (FEAT_DotProd): the 16 lanes are four vectors of 4.
#include "kernels/quant/dot.h"

#include <arm_neon.h>

#include <cstring>
#include <utility>

namespace chunkllm::neon_dot {
namespace {

#include "kernels/quant/dot-inl.h"

struct NeonDot {
  template <class Vector>
  struct Four {
    Vector part[4];  // of four outputs each
  };
  using Bytes = Four<uint8x16_t>;
  using Ints = Four<int32x4_t>;
  using Floats = Four<float32x4_t>;
  static constexpr int kEightBitOffset = 0;
  static constexpr bool kHasPairs = false;
  static constexpr bool kUnpacks = false;

  static Bytes load(const uint8_t* p) {
    return make<Bytes>([p](int i) { return vld1q_u8(p + 16 * i); });
  }
  template <int kShift, int kMask>
  static Bytes take(const Bytes& b) {
    return make<Bytes>(
        [&](int i) { return vandq_u8(move<kShift, 0>(b.part[i]), vdupq_n_u8(kMask)); });
  }
  template <int kFrom, int kTo, int kMask>
  static Bytes insert(const Bytes& b, const Bytes& high) {
    return make<Bytes>([&](int i) {
      const uint8x16_t bits =
          vandq_u8(move<kFrom, kTo>(high.part[i]), vdupq_n_u8(static_cast<uint8_t>(kMask << kTo)));
      return vorrq_u8(b.part[i], bits);
    });
  }
  static Bytes look_up(const Codebook& book, const Bytes& codes) {
    const uint8x16_t table = veorq_u8(vreinterpretq_u8_s8(vld1q_s8(book.values)), vdupq_n_u8(0x80));
    return make<Bytes>([&](int i) { return vqtbl1q_u8(table, codes.part[i]); });
  }

  static Ints dot(const Ints& sum, const Bytes& weights, const int8_t* x) {
    const int8x16_t four = broadcast_word(x);
    return make<Ints>(
        [&](int i) { return vdotq_s32(sum.part[i], vreinterpretq_s8_u8(weights.part[i]), four); });
  }
  static Ints eight_bit_dot(const Ints& sum, const Bytes& weights, const int8_t* x) {
    const int8x16_t four = broadcast_word(x);
    return make<Ints>([&](int i) {
      const uint8x16_t q = veorq_u8(weights.part[i], vdupq_n_u8(0x80));
      return vdotq_s32(sum.part[i], vreinterpretq_s8_u8(q), four);
    });
  }

  static Ints broadcast(int32_t value) {
    return make<Ints>([value](int) { return vdupq_n_s32(value); });
  }
  static Floats broadcast(float value) {
    return make<Floats>([value](int) { return vdupq_n_f32(value); });
  }
  static Floats zero() { return broadcast(0.0f); }
  static Floats to_float(const Ints& ints) {
    return make<Floats>([&](int i) { return vcvtq_f32_s32(ints.part[i]); });
  }
  static Floats half(const uint8_t* p) {
    return make<Floats>(
        [p](int i) { return vcvt_f32_f16(vreinterpret_f16_u16(four_words(p + 8 * i))); });
  }
  static Floats bfloat(const uint8_t* p) {
    return make<Floats>(
        [p](int i) { return vreinterpretq_f32_u32(vshll_n_u16(four_words(p + 8 * i), 16)); });
  }
  static Floats unsigned_bytes(const uint8_t* p) { return widen(vld1q_u8(p)); }
  static Floats signed_bytes(const uint8_t* p) {
    const int8x16_t bytes = vreinterpretq_s8_u8(vld1q_u8(p));
    const int16x8_t lower = vmovl_s8(vget_low_s8(bytes));
    const int16x8_t upper = vmovl_high_s8(bytes);
    return {{vcvtq_f32_s32(vmovl_s16(vget_low_s16(lower))), vcvtq_f32_s32(vmovl_high_s16(lower)),
             vcvtq_f32_s32(vmovl_s16(vget_low_s16(upper))), vcvtq_f32_s32(vmovl_high_s16(upper))}};
  }
  static Floats low_nibbles(const uint8_t* p) {
    return widen(vandq_u8(vld1q_u8(p), vdupq_n_u8(15)));
  }
  static Floats high_nibbles(const uint8_t* p) { return widen(vshrq_n_u8(vld1q_u8(p), 4)); }
  static Floats multiply(const Floats& a, const Floats& b) {
    return make<Floats>([&](int i) { return vmulq_f32(a.part[i], b.part[i]); });
  }
  static Floats multiply_add(const Floats& a, const Floats& b, const Floats& c) {
    return make<Floats>([&](int i) { return vfmaq_f32(c.part[i], a.part[i], b.part[i]); });
  }
  static void store(float* p, const Floats& values) {
    for (int i = 0; i < 4; ++i) vst1q_f32(p + 4 * i, values.part[i]);
  }
  static void prefetch(const uint8_t* p) { __builtin_prefetch(p); }

 private:
  template <class Result, class Part>
  static Result make(const Part& part) {
    return {{part(0), part(1), part(2), part(3)}};
  }
  // Bit kFrom of each byte moved to bit kTo.
  template <int kFrom, int kTo>
  static uint8x16_t move(uint8x16_t b) {
    if constexpr (kFrom < kTo) {
      return vshlq_n_u8(b, kTo - kFrom);
    } else if constexpr (kFrom > kTo) {
      return vshrq_n_u8(b, kFrom - kTo);
    } else {
      return b;
    }
  }
  static int8x16_t broadcast_word(const int8_t* x) {
    int32_t word = 0;
    std::memcpy(&word, x, sizeof(word));
    return vreinterpretq_s8_s32(vdupq_n_s32(word));
  }
  static uint16x4_t four_words(const uint8_t* p) { return vreinterpret_u16_u8(vld1_u8(p)); }
  static Floats widen(uint8x16_t bytes) {
    const uint16x8_t lower = vmovl_u8(vget_low_u8(bytes));
    const uint16x8_t upper = vmovl_high_u8(bytes);
    return {{vcvtq_f32_u32(vmovl_u16(vget_low_u16(lower))), vcvtq_f32_u32(vmovl_high_u16(lower)),
             vcvtq_f32_u32(vmovl_u16(vget_low_u16(upper))), vcvtq_f32_u32(vmovl_high_u16(upper))}};
  }
};

}  // namespace

const QuantDot* quant_dot_kernels() { return dot_kernels<NeonDot>(); }

}  // namespace chunkllm::neon_dot
