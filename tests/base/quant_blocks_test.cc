// Block formats against a second reading of their definitions, in double.
#include "base/quant_blocks.h"

#include <gtest/gtest.h>

#include <cmath>
#include <cstring>
#include <span>
#include <vector>

#include "base/half.h"
#include "base/random.h"
#include "testing/expect_error.h"

namespace chunkllm {
namespace {

// Bytes of one block, read by offset as the format's tables give them, not by the structs.
class Bytes {
 public:
  explicit Bytes(std::vector<uint8_t> bytes) : bytes_(std::move(bytes)) {}
  int u8(size_t at) const { return bytes_[at]; }
  int i8(size_t at) const { return static_cast<int8_t>(bytes_[at]); }
  double half(size_t at) const {
    return half_to_float(static_cast<uint16_t>(bytes_[at] | bytes_[at + 1] << 8));
  }
  void set_half(size_t at, float value) {
    const uint16_t bits = float_to_half(value);
    bytes_[at] = static_cast<uint8_t>(bits);
    bytes_[at + 1] = static_cast<uint8_t>(bits >> 8);
  }
  const std::vector<uint8_t>& all() const { return bytes_; }

 private:
  std::vector<uint8_t> bytes_;
};

double q8_0(const Bytes& b, size_t i) { return b.half(0) * b.i8(2 + i); }

double q4_0(const Bytes& b, size_t i) {
  const int q = i < 16 ? b.u8(2 + i) & 15 : b.u8(2 + i - 16) >> 4;
  return b.half(0) * (q - 8);
}

// The twelve bytes of scales as one number of 96 bits: fields of 6 bits, the first four scales and
// mins whole; the others in two parts.
int packed_scale(const Bytes& b, size_t at, size_t s, bool is_min) {
  if (s < 4) return b.u8(at + s + (is_min ? 4 : 0)) % 64;
  const int low = is_min ? b.u8(at + 4 + s) / 16 : b.u8(at + 4 + s) % 16;
  const int high = b.u8(at + s - (is_min ? 0 : 4)) / 64;
  return low + 16 * high;
}

double q4_k(const Bytes& b, size_t i) {
  const size_t s = i / 32;
  const int byte = b.u8(16 + 32 * (i / 64) + i % 32);
  const int q = s % 2 == 0 ? byte % 16 : byte / 16;
  return b.half(0) * packed_scale(b, 4, s, false) * q - b.half(2) * packed_scale(b, 4, s, true);
}

double q5_k(const Bytes& b, size_t i) {
  const size_t s = i / 32;
  const int byte = b.u8(48 + 32 * (i / 64) + i % 32);
  const int fifth = b.u8(16 + i % 32) >> s & 1;
  const int q = (s % 2 == 0 ? byte % 16 : byte / 16) + 16 * fifth;
  return b.half(0) * packed_scale(b, 4, s, false) * q - b.half(2) * packed_scale(b, 4, s, true);
}

double q6_k(const Bytes& b, size_t i) {
  const size_t half = i / 128;
  const size_t in_half = i % 128;
  const int byte = b.u8(64 * half + in_half % 64);
  const int low = in_half < 64 ? byte % 16 : byte / 16;
  const int high = b.u8(128 + 32 * half + in_half % 32) >> (2 * (in_half / 32)) & 3;
  return b.half(208) * b.i8(192 + i / 16) * (low + 16 * high - 32);
}

struct Format {
  DType dtype;
  double (*value)(const Bytes&, size_t);
  std::vector<size_t> halves;  // offsets of the binary16 fields
};

const std::vector<Format>& formats() {
  static const std::vector<Format> all = {{DType::kQ8_0, q8_0, {0}},
                                          {DType::kQ4_0, q4_0, {0}},
                                          {DType::kQ4K, q4_k, {0, 2}},
                                          {DType::kQ5K, q5_k, {0, 2}},
                                          {DType::kQ6K, q6_k, {208}}};
  return all;
}

TEST(QuantBlocks, ValuesAreTheFormats) {
  Rng rng(1);
  for (const Format& format : formats()) {
    SCOPED_TRACE(dtype_name(format.dtype));
    const auto n = static_cast<size_t>(dtype_block_elements(format.dtype));
    for (int trial = 0; trial < 200; ++trial) {
      std::vector<uint8_t> random(static_cast<size_t>(dtype_block_bytes(format.dtype)));
      for (uint8_t& byte : random) byte = static_cast<uint8_t>(rng.next());
      Bytes block(std::move(random));
      for (const size_t at : format.halves) {
        block.set_half(at, 0.01f + static_cast<float>(rng.next() % 1000) * 0.001f);
      }
      std::vector<float> values(n);
      dequantize(format.dtype, std::as_bytes(std::span(block.all())).data(),
                 static_cast<int64_t>(n), values.data());
      double largest = 0;
      for (size_t i = 0; i < n; ++i) largest = std::max(largest, std::abs(format.value(block, i)));
      for (size_t i = 0; i < n; ++i) {
        // Two products and a difference, each rounded once.
        ASSERT_NEAR(values[i], format.value(block, i), 4e-7 * (largest + 64)) << i;
      }
    }
  }
}

TEST(QuantBlocks, BlocksLieSideBySideAtAnyAlignment) {
  Rng rng(2);
  for (const Format& format : formats()) {
    const int64_t n = dtype_block_elements(format.dtype);
    const auto n_bytes = static_cast<size_t>(dtype_block_bytes(format.dtype));
    std::vector<std::byte> bytes(3 * n_bytes + 1);
    for (std::byte& byte : bytes) byte = static_cast<std::byte>(rng.next() % 32);
    std::vector<float> all(static_cast<size_t>(3 * n));
    convert_to_float(format.dtype, bytes.data() + 1, 3 * n, all.data());
    for (size_t b = 0; b < 3; ++b) {
      std::vector<float> one(static_cast<size_t>(n));
      dequantize(format.dtype, bytes.data() + 1 + b * n_bytes, n, one.data());
      EXPECT_TRUE(std::equal(one.begin(), one.end(), all.begin() + static_cast<int64_t>(b) * n));
    }
  }
}

// The distance to the nearest representable value bounds that to the one chosen.
TEST(QuantBlocks, QuantisedValuesAreNearTheirOriginals) {
  Rng rng(3);
  for (const auto& [dtype, levels] : {std::pair{DType::kQ8_0, 127.0}, {DType::kQ4_0, 8.0}}) {
    constexpr int64_t kValues = 64 * kSmallBlock;
    std::vector<float> values(kValues);
    for (float& value : values) value = static_cast<float>(rng.next() % 20001) * 1e-4f - 1.0f;
    std::vector<std::byte> bytes(static_cast<size_t>(dtype_row_bytes(dtype, kValues)));
    quantize(dtype, values.data(), kValues, bytes.data());
    std::vector<float> back(values.size());
    dequantize(dtype, bytes.data(), kValues, back.data());
    for (size_t i = 0; i < values.size(); ++i) {
      const size_t begin = i / kSmallBlock * kSmallBlock;
      double largest = 0;
      for (size_t k = begin; k < begin + kSmallBlock; ++k) {
        largest = std::max(largest, std::abs(double{values[k]}));
      }
      // Q4_0 has no +8: the end of the range opposite to the largest value is a whole step away.
      const double steps = dtype == DType::kQ4_0 ? 1.0 : 0.5;
      EXPECT_LE(std::abs(back[i] - values[i]), (steps + 0.07) * largest / levels) << i;
    }
  }
}

TEST(QuantBlocks, LargestValuesKeepTheirPlace) {
  std::vector<float> values(kSmallBlock, 0.0f);
  values[5] = -4.0f;
  values[20] = 3.0f;
  BlockQ4_0 q4;
  quantize(DType::kQ4_0, values.data(), kSmallBlock, reinterpret_cast<std::byte*>(&q4));
  EXPECT_EQ(half_to_float(q4.d), 0.5f);
  EXPECT_EQ(q4.q[5] & 15, 0) << "the largest magnitude is -8";
  EXPECT_EQ(q4.q[4] >> 4, 14);
  EXPECT_EQ(q4.q[0], 0x88);
  BlockQ8_0 q8;
  quantize(DType::kQ8_0, values.data(), kSmallBlock, reinterpret_cast<std::byte*>(&q8));
  EXPECT_EQ(q8.q[5], -127);
  EXPECT_EQ(q8.q[20], 95);
}

TEST(QuantBlocks, ZerosStayZero) {
  const std::vector<float> zeros(kSmallBlock, 0.0f);
  for (const DType dtype : {DType::kQ8_0, DType::kQ4_0}) {
    std::vector<std::byte> bytes(static_cast<size_t>(dtype_block_bytes(dtype)), std::byte{1});
    quantize(dtype, zeros.data(), kSmallBlock, bytes.data());
    std::vector<float> back(kSmallBlock, 1.0f);
    dequantize(dtype, bytes.data(), kSmallBlock, back.data());
    EXPECT_EQ(back, zeros);
  }
}

TEST(QuantBlocks, OtherTypesAreRefused) {
  float value = 0;
  std::byte byte{};
  expect_error(ErrorCode::kUnsupported, "Q4_K",
               [&] { quantize(DType::kQ4K, &value, kSuperBlock, &byte); });
  expect_error(ErrorCode::kUnsupported, "F16", [&] { dequantize(DType::kF16, &byte, 32, &value); });
}

}  // namespace
}  // namespace chunkllm
