// Block formats against a second reading of their definitions, in double.
#include "base/quant/blocks.h"

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
  void set_u8(size_t at, uint8_t value) { bytes_[at] = value; }
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

int nibble(const Bytes& b, size_t at, size_t i) {
  return i < 16 ? b.u8(at + i) % 16 : b.u8(at + i - 16) / 16;
}

int fifth_bit(const Bytes& b, size_t at, size_t i) { return b.u8(at + i / 8) >> (i % 8) & 1; }

double q4_1(const Bytes& b, size_t i) { return b.half(0) * nibble(b, 4, i) + b.half(2); }

double q5_0(const Bytes& b, size_t i) {
  return b.half(0) * (nibble(b, 6, i) + 16 * fifth_bit(b, 2, i) - 16);
}

double q5_1(const Bytes& b, size_t i) {
  return b.half(0) * (nibble(b, 8, i) + 16 * fifth_bit(b, 4, i)) + b.half(2);
}

// Two bits of each of four elements in a byte, 32 apart.
int pair(const Bytes& b, size_t at, size_t i) {
  return b.u8(at + i / 128 * 32 + i % 32) >> (i % 128 / 32 * 2) & 3;
}

double q2_k(const Bytes& b, size_t i) {
  const int both = b.u8(i / 16);
  return b.half(80) * (both % 16) * pair(b, 16, i) - b.half(82) * (both / 16);
}

double q3_k(const Bytes& b, size_t i) {
  const size_t s = i / 16;
  const int low = s < 8 ? b.u8(96 + s) % 16 : b.u8(96 + s - 8) / 16;
  const int high = b.u8(104 + s % 4) >> (2 * (s / 4)) & 3;
  const int q = pair(b, 32, i) + 4 * (b.u8(i % 32) >> (i / 32) & 1) - 4;
  return b.half(108) * (low + 16 * high - 32) * q;
}

int iq4_value(int code) {
  constexpr int kValues[] = {-127, -104, -83, -65, -49, -35, -22, -10,
                             1,    13,   25,  38,  53,  69,  89,  113};
  return kValues[code];
}

double iq4_nl(const Bytes& b, size_t i) { return b.half(0) * iq4_value(nibble(b, 2, i)); }

double iq4_xs(const Bytes& b, size_t i) {
  const size_t s = i / 32;
  const int low = s % 2 == 0 ? b.u8(4 + s / 2) % 16 : b.u8(4 + s / 2) / 16;
  const int high = (b.u8(2) + 256 * b.u8(3)) >> (2 * s) & 3;
  return b.half(0) * (low + 16 * high - 32) * iq4_value(nibble(b, 8 + 16 * s, i % 32));
}

// E8M0 times E2M1.
double mxfp4(const Bytes& b, size_t i) {
  constexpr double kValues[] = {0, 0.5, 1, 1.5, 2, 3, 4, 6};
  const int code = nibble(b, 1, i);
  return std::ldexp(kValues[code % 8], b.u8(0) - 127) * (code < 8 ? 1 : -1);
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
  static const std::vector<Format> all = {
      {DType::kQ4_0, q4_0, {0}},    {DType::kQ4_1, q4_1, {0, 2}}, {DType::kQ5_0, q5_0, {0}},
      {DType::kQ5_1, q5_1, {0, 2}}, {DType::kQ8_0, q8_0, {0}},    {DType::kQ2K, q2_k, {80, 82}},
      {DType::kQ3K, q3_k, {108}},   {DType::kQ4K, q4_k, {0, 2}},  {DType::kQ5K, q5_k, {0, 2}},
      {DType::kQ6K, q6_k, {208}},   {DType::kIq4Nl, iq4_nl, {0}}, {DType::kIq4Xs, iq4_xs, {0}},
      {DType::kMxfp4, mxfp4, {}},
  };
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
      if (format.halves.empty()) block.set_u8(0, static_cast<uint8_t>(rng.below(253)));
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
        ASSERT_NEAR(values[i], format.value(block, i),
                    4e-7 * (largest + (format.halves.empty() ? 0 : 64)))
            << i;
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

TEST(QuantBlocks, OtherTypesAreRefused) {
  float value = 0;
  std::byte byte{};
  expect_error(ErrorCode::kUnsupported, "F16", [&] { dequantize(DType::kF16, &byte, 32, &value); });
  expect_error(ErrorCode::kUnsupported, "I64", [&] { quant_format(DType::kI64); });
}

}  // namespace
}  // namespace chunkllm
