#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <cstring>
#include <limits>
#include <vector>

#include "base/random.h"
#include "kernels/compare.h"
#include "kernels/linear/linear.h"
#include "kernels/linear/ref.h"
#include "kernels/machine/isa.h"
#include "linear_cases.h"
#include "quant_cases.h"
#include "testing/expect_error.h"

namespace chunkllm {
namespace {

using test::expect_close;
using test::GuardedArray;
using test::quant_types;
using test::QuantCase;
using test::random_values;
using test::sum_tolerance;

std::vector<Precision> precisions() {
  std::vector<Precision> all = {kF32Precision, kInt8Precision};
  if (bf16_products_available()) all.push_back(kBf16Precision);
  return all;
}

// Few tokens meet int8 inputs, more the type of the products (linear.h leaves the number open;
// these stay clear of it).
constexpr int64_t kFew = 8;

// What Linear computes for quantised weights of these values, in double.
std::vector<double> expected(const std::vector<float>& x, const std::vector<float>& weights,
                             int64_t n_tokens, int64_t n_in, Precision precision) {
  const auto n_out = static_cast<int64_t>(weights.size()) / n_in;
  if (precision.int8_inputs == Int8Inputs::kAlways ||
      (precision.int8_inputs == Int8Inputs::kFewTokens && n_tokens <= kFew)) {
    const auto rounded = ref::rounded_to_int8(x.data(), n_tokens * n_in);
    return ref::linear(rounded.data(), weights.data(), n_tokens, n_in, n_out, kF32Precision);
  }
  return ref::linear(x.data(), weights.data(), n_tokens, n_in, n_out, precision);
}

void check(const QuantCase& matrix, int64_t n_tokens, Precision precision,
           const std::vector<float>& x) {
  const MatrixView part = matrix.view();
  SCOPED_TRACE(
      testing::Message() << dtype_name(part.dtype) << ", " << n_tokens << " x " << part.n_cols
                         << " x " << part.n_rows << ", products in "
                         << product_type_name(precision.products)
                         << (precision.int8_inputs == Int8Inputs::kNone ? "" : ", int8 inputs"));
  const Linear linear(std::span(&part, 1), precision);
  GuardedArray y(n_tokens * part.n_rows);
  linear(x.data(), n_tokens, y.data());
  expect_close(y.values(), expected(x, matrix.values(), n_tokens, part.n_cols, precision),
               sum_tolerance(part.n_cols));
  EXPECT_TRUE(y.guards_intact());
}

struct Shape {
  int64_t n_out;
  int64_t n_in;
};

// Around panels (16 outputs), units (64 or 256 inputs) and slabs (256 outputs, 512 inputs).
std::vector<Shape> shapes(DType dtype) {
  if (dtype_block_elements(dtype) == kSuperBlock) {
    return {{1, 256}, {16, 256}, {17, 512}, {100, 768}, {33, 1280}, {300, 256}};
  }
  return {{1, 32}, {16, 64}, {17, 96}, {100, 288}, {33, 1056}, {300, 32}, {64, 512}};
}

TEST(QuantLinear, MatchesTheReferenceAtEveryNumberOfTokens) {
  for (const auto& [dtype, halves] : quant_types()) {
    for (const auto& [n_out, n_in] : shapes(dtype)) {
      const QuantCase matrix(dtype, n_out, n_in, 1);
      for (const Precision precision : precisions()) {
        for (const int64_t n_tokens : {1, 2, 3, 4, 5, 8, 17, 32, 47}) {
          check(matrix, n_tokens, precision, random_values(n_tokens * n_in, 2));
        }
      }
    }
  }
}

TEST(QuantLinear, MatchesTheReferenceOnLongRowsAndManyTokens) {
  for (const auto& [dtype, halves] : quant_types()) {
    const int64_t n_in = 512 * dtype_block_elements(dtype);
    const QuantCase wide(dtype, 5, n_in, 3);
    const QuantCase usual(dtype, 300, 768, 4);
    for (const Precision precision : precisions()) {
      check(wide, 1, precision, random_values(n_in, 5));
      check(wide, 10, precision, random_values(10 * n_in, 5));
      check(usual, 200, precision, random_values(200 * 768, 6));
    }
  }
  const QuantCase small(DType::kQ8_0, 3, 32, 7);  // more tokens than work space for inputs holds
  for (const Precision precision : precisions())
    check(small, 2500, precision, random_values(2500 * 32, 8));
}

// The largest integers of every sign, where 16-bit sums would overflow.
TEST(QuantLinear, HoldsExtremeIntegers) {
  for (const auto& [dtype, halves] : quant_types()) {
    for (const int fill : {0x00, 0x7f, 0x80, 0x81, 0xff}) {
      const QuantCase matrix(dtype, 20, 512, static_cast<uint8_t>(fill), 9);
      for (const float sign : {1.0f, -1.0f}) {
        for (const Precision precision : precisions()) {
          // The same for every input, so sums do not cancel but by the signs of scales.
          const std::vector<float> x(20 * 512, sign);
          check(matrix, 1, precision, x);
          check(matrix, 20, precision, x);
        }
      }
    }
  }
}

// So that it does not matter how a prompt is cut.
TEST(QuantLinear, Int8ProductsOfATokenAreTheSameBesideOthers) {
  constexpr int64_t kTokens = 23;
  constexpr int64_t kIn = 768;
  constexpr int64_t kOut = 40;
  for (const auto& [dtype, halves] : quant_types()) {
    const QuantCase matrix(dtype, kOut, kIn, 20);
    const MatrixView part = matrix.view();
    const Linear linear(std::span(&part, 1), kInt8Precision);
    const auto x = random_values(kTokens * kIn, 21);
    std::vector<float> together(kTokens * kOut);
    linear(x.data(), kTokens, together.data());
    for (int64_t t = 0; t < kTokens; ++t) {
      std::vector<float> alone(kOut);
      linear(x.data() + t * kIn, 1, alone.data());
      EXPECT_EQ(alone,
                std::vector<float>(together.begin() + t * kOut, together.begin() + (t + 1) * kOut))
          << dtype_name(part.dtype) << ", token " << t;
    }
  }
}

// The step of an int8 value is 1/127 of its block's largest, its error uniform: for normal values,
// whose largest of 32 is about 2.1 sigma, that is 2.1 / 127 / sqrt(12) of the norm. Weights of one
// sign make the outputs' errors one, that of the sum of x, which may be a few times larger.
TEST(QuantLinear, Int8InputsCostLittlePrecision) {
  constexpr double kRoundingError = 2.1 / 127 / 3.46;
  for (const auto& [dtype, halves] : quant_types()) {
    const QuantCase matrix(dtype, 200, 1024, 10);
    const MatrixView part = matrix.view();
    const auto x = random_values(1024, 11);
    std::vector<float> y(200);
    Linear(std::span(&part, 1), kInt8Precision)(x.data(), 1, y.data());
    const auto exact = ref::linear(x.data(), matrix.values().data(), 1, 1024, 200, kF32Precision);
    expect_close(y, exact, 4 * kRoundingError);
  }
}

TEST(QuantLinear, StacksMatricesOfAnyTypeByRows) {
  constexpr int64_t kIn = 512;
  const auto floats = random_values(30 * kIn, 12);
  const std::vector<QuantCase> cases = {{DType::kQ4K, 40, kIn, 13},
                                        {DType::kQ4K, 7, kIn, 14},
                                        {DType::kQ6K, 21, kIn, 15},
                                        {DType::kQ8_0, 50, kIn, 16},
                                        {DType::kQ4_0, 1, kIn, 17}};
  std::vector<MatrixView> parts;
  for (const QuantCase& matrix : cases) parts.push_back(matrix.view());
  parts.insert(parts.begin() + 2, {DType::kF32, floats.data(), 30, kIn});
  constexpr int64_t kOut = 40 + 7 + 30 + 21 + 50 + 1;
  const auto bias = random_values(kOut, 18);
  for (const Precision precision : precisions()) {
    const Linear linear(parts, precision, bias);
    ASSERT_EQ(linear.n_out(), kOut);
    ASSERT_EQ(linear.n_in(), kIn);
    for (const int64_t n_tokens : {1, 3, 40}) {
      const auto x = random_values(n_tokens * kIn, 19);
      GuardedArray y(n_tokens * kOut);
      linear(x.data(), n_tokens, y.data());
      EXPECT_TRUE(y.guards_intact());
      int64_t first = 0;
      size_t next = 0;
      for (const MatrixView& part : parts) {
        const std::vector<double> products =
            part.dtype == DType::kF32
                ? ref::linear(x.data(), floats.data(), n_tokens, kIn, 30, precision)
                : expected(x, cases[next++].values(), n_tokens, kIn, precision);
        std::vector<float> slice;
        for (int64_t t = 0; t < n_tokens; ++t) {
          for (int64_t o = first; o < first + part.n_rows; ++o) {
            slice.push_back(y.data()[t * kOut + o] - bias[o]);
          }
        }
        expect_close(slice, products, sum_tolerance(kIn));
        first += part.n_rows;
      }
    }
  }
}

// In float32 a token's result is the same in any company, so any split of a prefill gives the same.
TEST(QuantLinear, ARowDoesNotDependOnItsCompanyInFloat32) {
  constexpr int64_t kTokens = 100;
  for (const auto& [dtype, halves] : quant_types()) {
    const QuantCase matrix(dtype, 70, 512, 20);
    const MatrixView part = matrix.view();
    const Linear linear(std::span(&part, 1), kF32Precision);
    const auto x = random_values(kTokens * 512, 21);
    std::vector<float> block(kTokens * 70), row(70);
    linear(x.data(), kTokens, block.data());
    for (const int64_t t : {int64_t{0}, int64_t{33}, kTokens - 1}) {
      linear(x.data() + t * 512, 1, row.data());
      expect_close(row.data(), block.data() + t * 70, 70, sum_tolerance(512));
    }
  }
}

TEST(QuantLinear, RepeatedCallsGiveTheSameBits) {
  for (const auto& [dtype, halves] : quant_types()) {
    const QuantCase matrix(dtype, 600, 512, 22);
    const MatrixView part = matrix.view();
    for (const Precision precision : precisions()) {
      const Linear linear(std::span(&part, 1), precision);
      for (const int64_t n_tokens : {1, 5, 40}) {
        const auto x = random_values(n_tokens * 512, 23);
        std::vector<float> first(static_cast<size_t>(n_tokens * 600)), again = first;
        linear(x.data(), n_tokens, first.data());
        linear(x.data(), n_tokens, again.data());
        EXPECT_EQ(first, again);
      }
    }
  }
}

TEST(QuantLinear, InputsThatAreNotFiniteSpoilTheirTokenAlone) {
  for (const auto& [dtype, halves] : quant_types()) {
    const QuantCase matrix(dtype, 40, 512, 24);
    const MatrixView part = matrix.view();
    for (const Precision precision : precisions()) {
      const Linear linear(std::span(&part, 1), precision);
      for (const int64_t n_tokens : {1, 3, 20}) {
        for (const float bad :
             {std::numeric_limits<float>::quiet_NaN(), std::numeric_limits<float>::infinity(),
              -std::numeric_limits<float>::infinity()}) {
          auto x = random_values(n_tokens * 512, 25);
          x[(n_tokens - 1) * 512 + 300] = bad;
          std::vector<float> y(static_cast<size_t>(n_tokens * 40));
          linear(x.data(), n_tokens, y.data());
          for (int64_t i = 0; i < n_tokens * 40; ++i) {
            ASSERT_EQ(std::isfinite(y[i]), i / 40 != n_tokens - 1)
                << dtype_name(dtype) << ", token " << i / 40 << " of " << n_tokens << ", input "
                << bad << ", products in " << product_type_name(precision.products);
          }
        }
      }
    }
  }
}

TEST(QuantLinear, ZerosTinyAndHugeInputs) {
  for (const auto& [dtype, halves] : quant_types()) {
    const QuantCase matrix(dtype, 18, 256, 26);
    const MatrixView part = matrix.view();
    for (const Precision precision : precisions()) {
      const Linear linear(std::span(&part, 1), precision);
      for (const int64_t n_tokens : {1, 12}) {
        std::vector<float> x(static_cast<size_t>(n_tokens * 256), 0.0f);
        std::vector<float> y(static_cast<size_t>(n_tokens * 18), 1.0f);
        linear(x.data(), n_tokens, y.data());
        EXPECT_EQ(y, std::vector<float>(y.size(), 0.0f));
        for (const float size : {1e-25f, 1e30f}) {
          x = random_values(n_tokens * 256, 27);
          for (float& value : x) value *= size;
          check(matrix, n_tokens, precision, x);
        }
      }
    }
  }
}

TEST(QuantLinear, KeepsTheFilesSize) {
  for (const auto& [dtype, halves] : quant_types()) {
    const QuantCase matrix(dtype, 512, 1024, 28);
    const MatrixView part = matrix.view();
    const Linear linear(std::span(&part, 1), kF32Precision);
    const auto file_bytes = static_cast<double>(dtype_row_bytes(dtype, 512 * 1024));
    EXPECT_GE(static_cast<double>(linear.size_bytes()), file_bytes) << dtype_name(dtype);
    // Scales of 6 bits (Q3_K) become bytes, those of 8 bits a block (MXFP4) bfloat16.
    const double growth = dtype == DType::kQ3K || dtype == DType::kMxfp4 ? 1.06 : 1.03;
    EXPECT_LE(static_cast<double>(linear.size_bytes()), growth * file_bytes) << dtype_name(dtype);
  }
}

TEST(QuantLinear, RowsThatAreNoWholeBlocksAreErrors) {
  const std::vector<std::byte> bytes(4096);
  for (const auto& [dtype, n_cols] :
       {std::pair{DType::kQ8_0, 48}, {DType::kQ4_0, 31}, {DType::kQ4K, 128}, {DType::kQ6K, 300}}) {
    const MatrixView part{dtype, bytes.data(), 1, n_cols};
    expect_error(ErrorCode::kUnsupported, "whole blocks",
                 [&] { Linear(std::span(&part, 1), kF32Precision); });
  }
}

}  // namespace
}  // namespace chunkllm
