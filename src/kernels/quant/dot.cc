#include "kernels/quant/dot.h"

#include <array>
#include <cstring>

#include "base/bf16.h"
#include "base/half.h"
#include "base/quant/blocks.h"
#include "kernels/machine/kernel_set.h"

namespace chunkllm {
namespace portable {
namespace {

#include "kernels/quant/dot-inl.h"

struct Plain {
  using Bytes = std::array<uint8_t, 64>;
  using Ints = std::array<int32_t, 16>;
  using Floats = std::array<float, 16>;
  static constexpr int kEightBitOffset = 128;
  static constexpr bool kHasPairs = false;
  static constexpr bool kUnpacks = false;

  static Bytes load(const uint8_t* p) {
    Bytes bytes;
    std::memcpy(bytes.data(), p, bytes.size());
    return bytes;
  }
  template <int kShift, int kMask>
  static Bytes take(Bytes b) {
    for (uint8_t& byte : b) byte = (byte >> kShift) & kMask;
    return b;
  }
  template <int kFrom, int kTo, int kMask>
  static Bytes insert(Bytes b, const Bytes& high) {
    for (size_t i = 0; i < b.size(); ++i) {
      b[i] = static_cast<uint8_t>(b[i] | ((high[i] >> kFrom) & kMask) << kTo);
    }
    return b;
  }
  static Bytes look_up(const Codebook& book, Bytes codes) {
    for (uint8_t& byte : codes) byte = static_cast<uint8_t>(book.values[byte] + 128);
    return codes;
  }

  static Ints dot(Ints sum, const Bytes& weights, const int8_t* x) {
    for (size_t i = 0; i < weights.size(); ++i) sum[i / 4] += weights[i] * x[i % 4];
    return sum;
  }
  static Ints eight_bit_dot(const Ints& sum, const Bytes& weights, const int8_t* x) {
    return dot(sum, weights, x);
  }

  static Ints broadcast(int32_t value) {
    Ints ints;
    ints.fill(value);
    return ints;
  }
  static Floats broadcast(float value) {
    Floats floats;
    floats.fill(value);
    return floats;
  }
  static Floats zero() { return broadcast(0.0f); }
  static Floats to_float(const Ints& ints) {
    return make([&](size_t o) { return static_cast<float>(ints[o]); });
  }
  static Floats half(const uint8_t* p) {
    return make([&](size_t o) {
      uint16_t bits = 0;
      std::memcpy(&bits, p + 2 * o, sizeof(bits));
      return half_to_float(bits);
    });
  }
  static Floats bfloat(const uint8_t* p) {
    return make([&](size_t o) {
      Bf16 value;
      std::memcpy(&value, p + 2 * o, sizeof(value));
      return chunkllm::to_float(value);
    });
  }
  static Floats unsigned_bytes(const uint8_t* p) {
    return make([&](size_t o) { return static_cast<float>(p[o]); });
  }
  static Floats low_nibbles(const uint8_t* p) {
    return make([&](size_t o) { return static_cast<float>(p[o] & 15); });
  }
  static Floats high_nibbles(const uint8_t* p) {
    return make([&](size_t o) { return static_cast<float>(p[o] >> 4); });
  }
  static Floats signed_bytes(const uint8_t* p) {
    return make([&](size_t o) { return static_cast<float>(static_cast<int8_t>(p[o])); });
  }
  static Floats multiply(const Floats& a, const Floats& b) {
    return make([&](size_t o) { return a[o] * b[o]; });
  }
  static Floats multiply_add(const Floats& a, const Floats& b, const Floats& c) {
    return make([&](size_t o) { return a[o] * b[o] + c[o]; });
  }
  static void store(float* p, const Floats& values) {
    std::memcpy(p, values.data(), sizeof(values));
  }
  static void prefetch(const uint8_t* p) { __builtin_prefetch(p); }

 private:
  template <class Make>
  static Floats make(const Make& value) {
    Floats floats;
    for (size_t o = 0; o < floats.size(); ++o) floats[o] = value(o);
    return floats;
  }
};

}  // namespace

const QuantDot* quant_dot_kernels() { return dot_kernels<Plain>(); }

}  // namespace portable

const QuantDot& quant_dot(DType dtype) {
  static const QuantDot* const kernels = active_kernels().quant_dot();
  return kernels[quant_index(quant_format(dtype).dtype)];
}

}  // namespace chunkllm
