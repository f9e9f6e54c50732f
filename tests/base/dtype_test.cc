#include "base/dtype.h"

#include <bit>
#include <cmath>
#include <cstring>
#include <limits>
#include <vector>

#include "base/bf16.h"
#include "base/half.h"
#include "base/random.h"
#include "testing/expect_error.h"

namespace chunkllm {
namespace {

// The value of a binary16 straight from its definition (IEEE 754-2019, 3.4).
double defined_half(uint16_t bits) {
  const double sign = bits & 0x8000 ? -1 : 1;
  const int exponent = (bits >> 10) & 31;
  const int fraction = bits & 1023;
  if (exponent == 31) return fraction ? std::nan("") : sign * INFINITY;
  if (exponent == 0) return sign * std::ldexp(fraction, -24);
  return sign * std::ldexp(1024 + fraction, exponent - 25);
}

TEST(Half, EveryValueIsExact) {
  for (int bits = 0; bits < 65536; ++bits) {
    const double expected = defined_half(static_cast<uint16_t>(bits));
    const float value = half_to_float(static_cast<uint16_t>(bits));
    if (std::isnan(expected)) {
      ASSERT_TRUE(std::isnan(value)) << bits;
    } else {
      ASSERT_EQ(static_cast<double>(value), expected) << bits;
    }
    ASSERT_EQ(std::signbit(value), bits >= 0x8000) << bits;
  }
}

TEST(Half, RoundsToTheNearestAndTiesToEven) {
  for (int bits = 0; bits < 0x7c00; ++bits) {
    const float value = half_to_float(static_cast<uint16_t>(bits));
    const float next = bits == 0x7bff ? 65536.0f : half_to_float(static_cast<uint16_t>(bits + 1));
    const float middle = (value + next) / 2;
    ASSERT_EQ(float_to_half(value), bits);
    ASSERT_EQ(float_to_half(-value), bits | 0x8000);
    ASSERT_EQ(float_to_half(middle), bits % 2 == 0 ? bits : bits + 1);
    ASSERT_EQ(float_to_half(std::nextafter(middle, 0.0f)), bits);
    ASSERT_EQ(float_to_half(std::nextafter(middle, 1e9f)), bits + 1);
  }
  EXPECT_EQ(float_to_half(INFINITY), 0x7c00);
  EXPECT_EQ(float_to_half(1e30f), 0x7c00);
  EXPECT_TRUE(std::isnan(half_to_float(float_to_half(std::nanf("")))));
}

TEST(Bf16, EveryValueSurvivesTheWayThroughFloat) {
  for (int bits = 0; bits < 65536; ++bits) {
    const Bf16 value{static_cast<uint16_t>(bits)};
    const float wide = to_float(value);
    if (std::isnan(wide)) {
      ASSERT_TRUE(std::isnan(to_float(to_bf16(wide))));
    } else {
      ASSERT_EQ(to_bf16(wide).bits, value.bits);
    }
  }
}

TEST(Bf16, RoundsToTheNearestAndTiesToEven) {
  Rng rng(1);
  for (int i = 0; i < 100'000; ++i) {
    const float value = std::bit_cast<float>(static_cast<uint32_t>(rng.next()));
    if (!std::isfinite(value) || std::abs(value) > 3e38f) continue;
    const uint16_t down = static_cast<uint16_t>(std::bit_cast<uint32_t>(value) >> 16);
    const double below = to_float(Bf16{down});
    const double above = to_float(Bf16{static_cast<uint16_t>(down + 1)});
    const double to_below = std::abs(double{value} - below);
    const double to_above = std::abs(double{value} - above);
    const bool up = to_above < to_below || (to_above == to_below && down % 2 == 1);
    ASSERT_EQ(to_bf16(value).bits, up ? down + 1 : down) << value;
  }
  EXPECT_EQ(to_bf16(1.00390625f).bits, 0x3f80);  // halfway, the even one is below
  EXPECT_EQ(to_bf16(1.01171875f).bits, 0x3f82);  // halfway, the even one is above
}

TEST(Bf16, ExtremesKeepTheirKind) {
  EXPECT_TRUE(std::isinf(to_float(to_bf16(std::numeric_limits<float>::max()))));
  EXPECT_EQ(to_float(to_bf16(-INFINITY)), -INFINITY);
  // A NaN whose payload lies in the lower half only must not become an infinity.
  const float nan = std::bit_cast<float>(0xff800001u);
  EXPECT_TRUE(std::isnan(to_float(to_bf16(nan))));
  EXPECT_TRUE(std::signbit(to_float(to_bf16(nan))));
}

TEST(DType, NamesAndSizes) {
  EXPECT_EQ(dtype_name(DType::kBf16), "BF16");
  EXPECT_EQ(dtype_bytes(DType::kF32), 4);
  EXPECT_EQ(dtype_bytes(DType::kF16), 2);
  EXPECT_EQ(dtype_bytes(DType::kBf16), 2);
  EXPECT_EQ(dtype_bytes(DType::kI32), 4);
  EXPECT_EQ(dtype_bytes(DType::kI64), 8);
  EXPECT_EQ(dtype_bytes(DType::kU8), 1);
}

TEST(DType, ConvertsAtAnyAlignment) {
  const std::vector<float> values = {1.5f, -2.0f, 0.0f, 1024.0f};
  for (const DType dtype : {DType::kF32, DType::kF16, DType::kBf16}) {
    for (size_t shift = 0; shift < 4; ++shift) {
      std::vector<char> bytes(shift);
      for (const float value : values) {
        const auto append = [&](auto stored) {
          const auto* begin = reinterpret_cast<const char*>(&stored);
          bytes.insert(bytes.end(), begin, begin + sizeof(stored));
        };
        if (dtype == DType::kF32) append(value);
        if (dtype == DType::kBf16) append(to_bf16(value).bits);
        if (dtype == DType::kF16) {
          for (uint32_t bits = 0; bits < 65536; ++bits) {
            if (std::bit_cast<uint32_t>(half_to_float(static_cast<uint16_t>(bits))) ==
                std::bit_cast<uint32_t>(value)) {
              append(static_cast<uint16_t>(bits));
            }
          }
        }
      }
      std::vector<float> converted(values.size());
      convert_to_float(dtype, bytes.data() + shift, 4, converted.data());
      EXPECT_EQ(converted, values);
    }
  }
}

TEST(DType, NothingIsConvertedFromNothing) {
  for (const DType dtype : {DType::kF32, DType::kF16, DType::kBf16}) {
    EXPECT_NO_THROW(convert_to_float(dtype, nullptr, 0, nullptr));
  }
}

TEST(DType, IntegersAreNotReadAsFloats) {
  const int64_t zero = 0;
  float target = 0;
  for (const DType dtype : {DType::kI32, DType::kI64, DType::kU8}) {
    expect_error(ErrorCode::kUnsupported, dtype_name(dtype).data(),
                 [&] { convert_to_float(dtype, &zero, 1, &target); });
  }
}

}  // namespace
}  // namespace chunkllm
