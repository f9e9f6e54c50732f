#include "kernels/quant/dot.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <cstring>
#include <limits>
#include <utility>
#include <vector>

#include "base/bf16.h"
#include "base/half.h"
#include "base/quant/blocks.h"
#include "base/thread_pool.h"
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

const QuantDotKernel* quant_dot_kernels() { return dot_kernels<Plain>(); }

}  // namespace portable

namespace {

// One block of 32 values at x.
void round_block(const float* x, int8_t* values, float* scale, int32_t* sums) {
  constexpr float kSmallest = 0x1p-100f;
  float largest = 0.0f;
  bool finite = true;
  for (int i = 0; i < kQuantBlock; ++i) {
    const float magnitude = std::fabs(x[i]);
    finite &= magnitude <= std::numeric_limits<float>::max();  // false for NaN
    largest = std::max(largest, magnitude);
  }
  const bool zero = !finite || largest < kSmallest;
  const float inverse = zero ? 0.0f : 127.0f / largest;
  *scale = finite ? (zero ? 0.0f : largest / 127.0f) : std::numeric_limits<float>::quiet_NaN();
  // Adding 1.5 2^23 rounds to the nearest integer, ties to even, and leaves it in the low bits.
  constexpr float kRound = 12582912.0f;
  sums[0] = sums[1] = 0;
  for (int i = 0; i < kQuantBlock; ++i) {
    const float rounded = (zero ? 0.0f : x[i] * inverse) + kRound;
    int32_t bits = 0;
    std::memcpy(&bits, &rounded, sizeof(bits));
    const int32_t value = bits - 0x4b400000;
    values[i] = static_cast<int8_t>(value);
    sums[i / 16] += value;
  }
}

}  // namespace

QuantDotKernel quant_dot_kernel(DType dtype) {
  static const QuantDotKernel* const kernels = active_kernels().quant_dot();
  return kernels[quant_index(quant_format(dtype).dtype)];
}

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
  const bool parallel = n_tokens * n_in >= kMinParallelInputs;
  parallel_for(n_tokens, parallel ? kTokensAtOnce : n_tokens, [&](int64_t begin, int64_t end, int) {
    for (int64_t t = begin; t < end; ++t) {
      const int64_t first = t * n_blocks;
      for (int64_t b = 0; b < n_used; ++b) {
        const int64_t at = first + b;
        round_block(x + t * n_in + b * kQuantBlock, to_values + at * kQuantBlock, to_scales + at,
                    to_sums + 2 * at);
      }
      const int64_t n_padding = n_blocks - n_used;
      std::fill_n(to_values + (first + n_used) * kQuantBlock, n_padding * kQuantBlock, int8_t{0});
      std::fill_n(to_scales + first + n_used, n_padding, 0.0f);
      std::fill_n(to_sums + 2 * (first + n_used), 2 * n_padding, 0);
    }
  });
  return {values.data(), scales.data(), sums.data(), n_tokens, n_blocks};
}

}  // namespace chunkllm
