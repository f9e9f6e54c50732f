#include "base/quant/encode.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <cstring>
#include <limits>
#include <string>

#include "base/bf16.h"
#include "base/error.h"
#include "base/half.h"
#include "base/quant/formats.h"

namespace chunkllm {
namespace {

constexpr float kLargestHalf = 65504.0f;

void put_word(uint16_t value, std::byte* target) { std::memcpy(target, &value, sizeof(value)); }

void put_half(float value, std::byte* target) { put_word(float_to_half(value), target); }

float inverse_or_zero(float d) { return d == 0.0f ? 0.0f : 1.0f / d; }

// Calls block(values, bytes) for each block.
template <class Block>
void encode_blocks(const float* source, int64_t n, int64_t block_bytes, std::byte* target,
                   const Block& block) {
  for (int64_t i = 0; i < n; i += kSmallBlock, target += block_bytes) block(source + i, target);
}

void encode_q8_0(const float* source, int64_t n, std::byte* target) {
  encode_blocks(source, n, 34, target, [](const float* x, std::byte* block) {
    float largest = 0.0f;
    for (int i = 0; i < kSmallBlock; ++i) largest = std::max(largest, std::fabs(x[i]));
    const float d = largest / 127.0f;
    const float inverse = inverse_or_zero(d);
    put_half(d, block);
    for (int i = 0; i < kSmallBlock; ++i) {
      block[2 + i] = static_cast<std::byte>(static_cast<int8_t>(std::round(x[i] * inverse)));
    }
  });
}

// Codes of 4 bits or 5: the fifth ones as a word of bits, then low nibbles, first half of the block
// and second half side by side.
template <int kBits>
void put_codes(const std::array<uint8_t, kSmallBlock>& codes, std::byte* target) {
  if constexpr (kBits == 5) {
    for (size_t byte = 0; byte < 4; ++byte, ++target) {
      int bits = 0;
      for (size_t i = 0; i < 8; ++i) bits |= codes[8 * byte + i] >> 4 << i;
      *target = static_cast<std::byte>(bits);
    }
  }
  for (size_t i = 0; i < 16; ++i) {
    target[i] = static_cast<std::byte>((codes[i] & 15) | (codes[i + 16] & 15) << 4);
  }
}

// The value of largest magnitude becomes code 0 exactly.
template <int kBits>
void encode_signed(const float* source, int64_t n, std::byte* target) {
  constexpr int kOffset = 1 << (kBits - 1);
  encode_blocks(source, n, kBits == 5 ? 22 : 18, target, [](const float* x, std::byte* block) {
    float largest = 0.0f;
    for (int i = 0; i < kSmallBlock; ++i) {
      if (std::fabs(x[i]) > std::fabs(largest)) largest = x[i];
    }
    const float d = largest / -kOffset;
    const float inverse = inverse_or_zero(d);
    put_half(d, block);
    std::array<uint8_t, kSmallBlock> codes;
    for (size_t i = 0; i < codes.size(); ++i) {
      const int code = static_cast<int>(x[i] * inverse + (static_cast<float>(kOffset) + 0.5f));
      codes[i] = static_cast<uint8_t>(std::min(2 * kOffset - 1, code));
    }
    put_codes<kBits>(codes, block + 2);
  });
}

// Codes from the least value of the block to the largest.
template <int kBits>
void encode_with_min(const float* source, int64_t n, std::byte* target) {
  static constexpr int kLargestCode = (1 << kBits) - 1;
  encode_blocks(source, n, kBits == 5 ? 24 : 20, target, [](const float* x, std::byte* block) {
    const auto [min, max] = std::minmax_element(x, x + kSmallBlock);
    const float d = (*max - *min) / kLargestCode;
    const float inverse = inverse_or_zero(d);
    put_half(d, block);
    put_half(*min, block + 2);
    std::array<uint8_t, kSmallBlock> codes;
    for (size_t i = 0; i < codes.size(); ++i) {
      const int code = static_cast<int>((x[i] - *min) * inverse + 0.5f);
      codes[i] = static_cast<uint8_t>(std::min(kLargestCode, code));
    }
    put_codes<kBits>(codes, block + 4);
  });
}

void encode_f32(const float* source, int64_t n, std::byte* target) {
  std::memcpy(target, source, static_cast<size_t>(n) * sizeof(float));
}

void encode_f16(const float* source, int64_t n, std::byte* target) {
  for (int64_t i = 0; i < n; ++i) put_half(source[i], target + 2 * i);
}

void encode_bf16(const float* source, int64_t n, std::byte* target) {
  for (int64_t i = 0; i < n; ++i) put_word(to_bf16(source[i]).bits, target + 2 * i);
}

constexpr float kLargestFloat = std::numeric_limits<float>::max();
constexpr float kLargestBf16 = 0x1.fep127f;

constexpr WritableType kWritable[] = {
    {DType::kQ8_0, 7, 127 * kLargestHalf, encode_q8_0},
    {DType::kQ5_1, 9, kLargestHalf, encode_with_min<5>},
    {DType::kQ5_0, 8, 16 * kLargestHalf, encode_signed<5>},
    {DType::kQ4_1, 3, kLargestHalf, encode_with_min<4>},
    {DType::kQ4_0, 2, 8 * kLargestHalf, encode_signed<4>},
    {DType::kF16, 1, kLargestHalf, encode_f16},
    {DType::kBf16, 32, kLargestBf16, encode_bf16},
    {DType::kF32, 0, kLargestFloat, encode_f32},
};

}  // namespace

std::span<const WritableType> writable_types() { return kWritable; }

const WritableType& writable_type(DType dtype) {
  for (const WritableType& type : kWritable) {
    if (type.dtype == dtype) return type;
  }
  std::string known;
  for (const WritableType& type : kWritable) {
    known += (known.empty() ? "" : ", ") + std::string(dtype_name(type.dtype));
  }
  fail(ErrorCode::kInvalidArgument, "values cannot be written as {}; use one of {}",
       dtype_name(dtype), known);
}

}  // namespace chunkllm
