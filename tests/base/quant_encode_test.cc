#include <gtest/gtest.h>

#include <cmath>
#include <limits>
#include <vector>

#include "base/half.h"
#include "base/quant/blocks.h"
#include "base/quant/encode.h"
#include "base/random.h"
#include "testing/expect_error.h"

namespace chunkllm {
namespace {

std::vector<std::byte> encoded(DType dtype, const std::vector<float>& values) {
  const auto n = static_cast<int64_t>(values.size());
  std::vector<std::byte> bytes(static_cast<size_t>(dtype_row_bytes(dtype, n)), std::byte{1});
  writable_type(dtype).encode(values.data(), n, bytes.data());
  return bytes;
}

std::vector<float> round_trip(DType dtype, const std::vector<float>& values) {
  std::vector<float> back(values.size(), 1.0f);
  convert_to_float(dtype, encoded(dtype, values).data(), static_cast<int64_t>(values.size()),
                   back.data());
  return back;
}

// Types of blocks, and the steps between the least and the largest value, or the two signs'
// largest.
struct Levels {
  DType dtype;
  double of_range;    // steps from the least to the largest value; or
  double of_largest;  // steps from zero to the largest magnitude
};

constexpr Levels kLevels[] = {{DType::kQ8_0, 0, 127},
                              {DType::kQ4_0, 0, 8},
                              {DType::kQ5_0, 0, 16},
                              {DType::kQ4_1, 15, 0},
                              {DType::kQ5_1, 31, 0}};

// The distance to the nearest representable value bounds that to the one chosen.
TEST(QuantEncode, ValuesAreNearTheirOriginals) {
  Rng rng(3);
  for (const Levels& levels : kLevels) {
    SCOPED_TRACE(dtype_name(levels.dtype));
    std::vector<float> values(64 * kSmallBlock);
    for (float& value : values) value = static_cast<float>(rng.next() % 20001) * 1e-4f - 1.0f;
    const std::vector<float> back = round_trip(levels.dtype, values);
    for (size_t i = 0; i < values.size(); ++i) {
      const size_t begin = i / kSmallBlock * kSmallBlock;
      double largest = 0, least = values[begin], most = values[begin];
      for (size_t k = begin; k < begin + kSmallBlock; ++k) {
        largest = std::max(largest, std::abs(double{values[k]}));
        least = std::min(least, double{values[k]});
        most = std::max(most, double{values[k]});
      }
      const double step =
          levels.of_range > 0 ? (most - least) / levels.of_range : largest / levels.of_largest;
      // Codes from -8 to 7 or -16 to 15 lack the other end: it is a whole step away.
      const bool lopsided = levels.of_range == 0 && levels.dtype != DType::kQ8_0;
      // The step and the least value are rounded to binary16.
      EXPECT_LE(std::abs(back[i] - values[i]), (lopsided ? 1.07 : 0.57) * step + 5e-4 * largest)
          << i;
    }
  }
}

TEST(QuantEncode, LargestValuesKeepTheirPlace) {
  std::vector<float> values(kSmallBlock, 0.0f);
  values[5] = -4.0f;
  values[20] = 3.0f;
  for (const Levels& levels : kLevels) {
    const std::vector<float> back = round_trip(levels.dtype, values);
    EXPECT_NEAR(back[5], -4.0f, 0.002f) << dtype_name(levels.dtype);
    EXPECT_NEAR(back[20], 3.0f, 0.5f) << dtype_name(levels.dtype);
  }
  const std::vector<std::byte> q4 = encoded(DType::kQ4_0, values);
  EXPECT_EQ(std::to_integer<int>(q4[0]) | std::to_integer<int>(q4[1]) << 8, float_to_half(0.5f));
  EXPECT_EQ(std::to_integer<int>(q4[2 + 5]) & 15, 0) << "the largest magnitude is -8";
  EXPECT_EQ(std::to_integer<int>(q4[2 + 4]) >> 4, 14);
  EXPECT_EQ(std::to_integer<int>(q4[2]), 0x88);
}

TEST(QuantEncode, ZerosStayZero) {
  const std::vector<float> zeros(kSmallBlock, 0.0f);
  for (const WritableType& type : writable_types()) {
    EXPECT_EQ(round_trip(type.dtype, zeros), zeros) << dtype_name(type.dtype);
  }
}

TEST(QuantEncode, TheLargestValueOfATypeStaysFinite) {
  for (const WritableType& type : writable_types()) {
    std::vector<float> values(kSmallBlock, 0.0f);
    values[3] = type.largest_value;
    values[4] = -type.largest_value;
    for (const float value : round_trip(type.dtype, values)) {
      EXPECT_TRUE(std::isfinite(value)) << dtype_name(type.dtype);
    }
  }
}

TEST(QuantEncode, OtherTypesAreRefused) {
  for (const DType dtype : {DType::kQ4K, DType::kIq4Nl, DType::kI64}) {
    expect_error(ErrorCode::kInvalidArgument, std::string(dtype_name(dtype)),
                 [&] { writable_type(dtype); });
  }
}

}  // namespace
}  // namespace chunkllm
