#include "kernels/attention/kv_rows.h"

#include <gtest/gtest.h>

#include <cmath>
#include <cstring>
#include <limits>
#include <vector>

#include "base/bf16.h"
#include "base/half.h"
#include "base/random.h"
#include "kernels/attention/attention_cases.h"

namespace chunkllm {
namespace {

constexpr int64_t kRows = 5;
constexpr int64_t kHeadDim = 96;
constexpr int64_t kStride = kHeadDim + 3;

// Numbers of all magnitudes, and what is no number.
std::vector<float> hard_rows() {
  Rng rng(51);
  std::vector<float> rows;
  for (int64_t i = 0; i < kRows * kStride; ++i) {
    rows.push_back(static_cast<float>(rng.normal() * std::exp2(rng.uniform() * 60 - 40)));
  }
  const float infinity = std::numeric_limits<float>::infinity();
  rows[3] = std::numeric_limits<float>::quiet_NaN();
  rows[40] = infinity;
  rows[41] = -infinity;
  rows[kStride + 1] = 65519.0f;  // the last that binary16 rounds down
  rows[kStride + 2] = 65520.0f;
  rows[kStride + 3] = 1e-40f;
  rows[kStride + 4] = 1.00390625f;  // halfway between two bf16 numbers
  rows[kStride + 5] = -0.0f;
  return rows;
}

std::vector<std::byte> rounded(KvType type, const std::vector<float>& rows) {
  std::vector<std::byte> bytes(static_cast<size_t>(kRows * kv_row_bytes(type, kHeadDim)));
  round_kv_rows(type, rows.data(), kStride, kRows, kHeadDim, bytes.data());
  return bytes;
}

double element(KvType type, const std::vector<std::byte>& bytes, int64_t row, int64_t i) {
  const KvLayerView view{bytes.data(), bytes.data(), type, 1, kRows, kHeadDim};
  return ref::cached(view, bytes.data(), 0, row, i);
}

TEST(RoundKvRows, RoundsEachElementAsTheDefinition) {
  const std::vector<float> rows = hard_rows();
  for (const KvType type : {KvType::kF32, KvType::kBf16, KvType::kF16}) {
    const std::vector<std::byte> bytes = rounded(type, rows);
    for (int64_t row = 0; row < kRows; ++row) {
      for (int64_t i = 0; i < kHeadDim; ++i) {
        const float x = rows[static_cast<size_t>(row * kStride + i)];
        const float expected = type == KvType::kF32    ? x
                               : type == KvType::kBf16 ? to_float(to_bf16(x))
                                                       : half_to_float(float_to_half(x));
        const double actual = element(type, bytes, row, i);
        if (std::isnan(expected)) {
          EXPECT_TRUE(std::isnan(actual));
        } else {
          EXPECT_EQ(actual, expected) << "row " << row << " element " << i;
        }
      }
    }
  }
}

TEST(RoundKvRows, BlocksAreWithinHalfAUnit) {
  Rng rng(52);
  std::vector<float> rows(static_cast<size_t>(kRows * kStride), 0.0f);
  for (int64_t i = kStride; i < kRows * kStride; ++i) {  // the first row stays zero
    rows[static_cast<size_t>(i)] = static_cast<float>(rng.normal() * 3);
  }
  const std::vector<std::byte> bytes = rounded(KvType::kQ8_0, rows);
  for (int64_t row = 0; row < kRows; ++row) {
    for (int64_t block = 0; block < kHeadDim; block += kSmallBlock) {
      const float* x = rows.data() + row * kStride + block;
      double largest = 0;
      for (int64_t i = 0; i < kSmallBlock; ++i) largest = std::max(largest, std::abs(double{x[i]}));
      // Half a unit; the scale's own rounding may cut what is largest.
      const double limit = largest / 127 * (0.5 + 0.1);
      for (int64_t i = 0; i < kSmallBlock; ++i) {
        EXPECT_NEAR(element(KvType::kQ8_0, bytes, row, block + i), x[i], limit);
      }
    }
  }
}

TEST(RoundKvRows, WhatIsNotFiniteSpoilsItsBlockAndNoOther) {
  std::vector<float> rows(static_cast<size_t>(kRows * kStride), 1.0f);
  rows[5] = std::numeric_limits<float>::quiet_NaN();
  rows[kStride + 40] = std::numeric_limits<float>::infinity();
  rows[2 * kStride + 70] = 1e9f;  // too large for the scale
  const std::vector<std::byte> bytes = rounded(KvType::kQ8_0, rows);
  for (int64_t row = 0; row < kRows; ++row) {
    for (int64_t i = 0; i < kHeadDim; ++i) {
      const bool spoiled = row < 3 && i / kSmallBlock == row;
      EXPECT_EQ(!std::isfinite(element(KvType::kQ8_0, bytes, row, i)), spoiled)
          << "row " << row << " element " << i;
    }
  }
}

}  // namespace
}  // namespace chunkllm
