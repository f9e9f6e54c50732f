#include "kernels/linear/linear.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <cstring>
#include <limits>
#include <vector>

#include "base/bf16.h"
#include "base/random.h"
#include "kernels/compare.h"
#include "kernels/linear/ref.h"
#include "kernels/linear/sgemm.h"
#include "kernels/machine/isa.h"
#include "linear_cases.h"
#include "testing/expect_error.h"

namespace chunkllm {
namespace {

using test::expect_close;
using test::GuardedArray;
using test::random_values;
using test::sum_tolerance;

std::vector<Precision> precisions() {
  if (bf16_products_available()) return {kF32Precision, kBf16Precision};
  return {kF32Precision};
}

MatrixView view(const std::vector<float>& values, int64_t n_rows, int64_t n_cols) {
  return {DType::kF32, values.data(), n_rows, n_cols};
}

Linear make_linear(const MatrixView& part, Precision precision) {
  return Linear(std::span<const MatrixView>(&part, 1), precision);
}

struct Shape {
  int64_t n_out;
  int64_t n_in;
};

// Around the packed layout's blocks (64 outputs, 16 or 32 inputs), and models' own shapes.
const std::vector<Shape> kShapes = {{1, 1},  {1, 64},   {17, 3},    {64, 32},    {65, 33},
                                    {63, 5}, {100, 99}, {512, 256}, {1000, 257}, {256, 768}};

TEST(Linear, AddsItsBiasToEveryRow) {
  const auto weights = random_values(65 * 33, 40);
  const auto bias = random_values(65, 41);
  const auto x = random_values(7 * 33, 42);
  const MatrixView part = view(weights, 65, 33);
  for (const Precision precision : precisions()) {
    const Linear plain(std::span(&part, 1), precision);
    const Linear with_bias(std::span(&part, 1), precision, bias);
    for (const int64_t n_tokens : {1, 7}) {
      std::vector<float> y(static_cast<size_t>(n_tokens * 65)), expected = y;
      plain(x.data(), n_tokens, expected.data());
      for (size_t i = 0; i < expected.size(); ++i) expected[i] += bias[i % 65];
      with_bias(x.data(), n_tokens, y.data());
      EXPECT_EQ(y, expected);
    }
    expect_error(ErrorCode::kInvalidArgument, "64 values",
                 [&] { Linear(std::span(&part, 1), precision, std::vector<float>(64)); });
  }
}

TEST(Linear, MatchesTheReferenceAtEveryNumberOfTokens) {
  for (const Precision precision : precisions()) {
    for (const auto& [n_out, n_in] : kShapes) {
      const auto weight = random_values(n_out * n_in, 1);
      const Linear linear = make_linear(view(weight, n_out, n_in), precision);
      EXPECT_EQ(linear.n_in(), n_in);
      EXPECT_EQ(linear.n_out(), n_out);
      for (const int64_t n_tokens : {1, 2, 7, 64, 100}) {
        SCOPED_TRACE(testing::Message() << n_tokens << " x " << n_in << " x " << n_out << ", bf16 "
                                        << (precision.products == ProductType::kBf16));
        const auto x = random_values(n_tokens * n_in, 2);
        GuardedArray y(n_tokens * n_out);
        linear(x.data(), n_tokens, y.data());
        expect_close(y.values(),
                     ref::linear(x.data(), weight.data(), n_tokens, n_in, n_out, precision),
                     sum_tolerance(n_in));
        EXPECT_TRUE(y.guards_intact());
      }
    }
  }
}

TEST(Linear, ARowDoesNotDependOnItsCompanyBeyondRounding) {
  constexpr int64_t kIn = 300;
  constexpr int64_t kOut = 200;
  constexpr int64_t kTokens = 512;
  const auto weight = random_values(kOut * kIn, 3);
  const auto x = random_values(kTokens * kIn, 4);
  for (const Precision precision : precisions()) {
    const Linear linear = make_linear(view(weight, kOut, kIn), precision);
    std::vector<float> block(kTokens * kOut);
    linear(x.data(), kTokens, block.data());
    for (const int64_t t : {int64_t{0}, int64_t{77}, kTokens - 1}) {
      std::vector<float> row(kOut);
      linear(x.data() + t * kIn, 1, row.data());
      expect_close(row.data(), block.data() + t * kOut, kOut, sum_tolerance(kIn));
    }
  }
}

TEST(Linear, RepeatedAndInterleavedCallsGiveTheSameBits) {
  constexpr int64_t kIn = 96;
  constexpr int64_t kOut = 130;
  const auto weight = random_values(kOut * kIn, 5);
  const auto x = random_values(16 * kIn, 6);
  for (const Precision precision : precisions()) {
    const Linear linear = make_linear(view(weight, kOut, kIn), precision);
    std::vector<std::vector<float>> first(17);
    for (int round = 0; round < 2; ++round) {  // more sizes than products are kept
      for (int64_t n_tokens = 1; n_tokens <= 16; ++n_tokens) {
        std::vector<float> y(static_cast<size_t>(n_tokens * kOut));
        linear(x.data(), n_tokens, y.data());
        if (round == 0) {
          first[n_tokens] = y;
        } else {
          EXPECT_EQ(y, first[n_tokens]);
        }
      }
    }
  }
}

TEST(Linear, StacksMatricesOfAnyTypeByRows) {
  constexpr int64_t kIn = 37;
  const auto values = random_values(3 * 50 * kIn, 7);
  std::vector<uint16_t> bf16(70 * kIn);
  std::vector<float> stacked(values.begin(), values.begin() + 20 * kIn);
  for (size_t i = 0; i < bf16.size(); ++i) {
    bf16[i] = to_bf16(values[i]).bits;
    stacked.push_back(to_float(Bf16{bf16[i]}));
  }
  const std::vector<uint16_t> half(3 * kIn, 0x3e00);  // 1.5
  stacked.insert(stacked.end(), half.size(), 1.5f);
  const std::vector<MatrixView> parts = {{DType::kF32, values.data(), 20, kIn},
                                         {DType::kBf16, bf16.data(), 70, kIn},
                                         {DType::kF16, half.data(), 3, kIn}};
  const auto x = random_values(2 * kIn, 8);
  for (const Precision precision : precisions()) {
    const Linear linear(parts, precision);
    ASSERT_EQ(linear.n_out(), 93);
    for (const int64_t n_tokens : {1, 2}) {
      std::vector<float> y(static_cast<size_t>(n_tokens * 93));
      linear(x.data(), n_tokens, y.data());
      expect_close(y, ref::linear(x.data(), stacked.data(), n_tokens, kIn, 93, precision),
                   sum_tolerance(kIn));
    }
  }
}

TEST(Linear, ReadsUnalignedWeightsAndKeepsNoView) {
  const auto weight = random_values(10 * 9, 9);
  std::vector<char> bytes(weight.size() * sizeof(float) + 1);
  std::memcpy(bytes.data() + 1, weight.data(), weight.size() * sizeof(float));
  const Linear linear = make_linear({DType::kF32, bytes.data() + 1, 10, 9}, kF32Precision);
  std::fill(bytes.begin(), bytes.end(), '\x7f');
  const auto x = random_values(9, 10);
  std::vector<float> y(10);
  linear(x.data(), 1, y.data());
  expect_close(y, ref::linear(x.data(), weight.data(), 1, 9, 10, kF32Precision), sum_tolerance(9));
}

TEST(Linear, KeepsOneCopyOfTheWeights) {
  constexpr int64_t kElements = 512 * 256;
  const auto weight = random_values(kElements, 11);
  for (const Precision precision : precisions()) {
    const Linear linear = make_linear(view(weight, 512, 256), precision);
    EXPECT_EQ(linear.size_bytes(), kElements * (precision.products == ProductType::kBf16 ? 2 : 4));
  }
}

TEST(Linear, MovesAndNothing) {
  const auto weight = random_values(6, 12);
  Linear linear = make_linear(view(weight, 2, 3), kF32Precision);
  Linear moved = std::move(linear);
  const std::vector<float> x = {1, 2, 3};
  GuardedArray y(2);
  moved(x.data(), 0, y.data());
  EXPECT_EQ(y.values(), GuardedArray(2).values()) << "no tokens, no writes";
  moved(x.data(), 1, y.data());
  expect_close(y.values(), ref::linear(x.data(), weight.data(), 1, 3, 2, kF32Precision),
               sum_tolerance(3));
  const Linear empty;
  EXPECT_EQ(empty.n_out(), 0);
  EXPECT_EQ(empty.size_bytes(), 0);
  expect_error(ErrorCode::kInvalidArgument, "without weights",
               [&] { empty(x.data(), 1, y.data()); });
}

TEST(Linear, UnusablePartsAreErrors) {
  const auto weight = random_values(12, 13);
  const auto refused = [&](std::vector<MatrixView> parts, const char* what) {
    expect_error(ErrorCode::kUnsupported, what, [&] { Linear(parts, kF32Precision); });
  };
  refused({}, "at least one");
  refused({view(weight, 2, 3), view(weight, 3, 2)}, "3 columns");
  refused({view(weight, 0, 3)}, "[0, 3]");
  refused({view(weight, -1, 3)}, "[-1, 3]");
  refused({{DType::kI32, weight.data(), 2, 3}}, "I32");
  refused({view(weight, std::numeric_limits<int64_t>::max() / 2, 4)}, "cannot stack");
  if (!bf16_products_available()) {
    expect_error(ErrorCode::kUnsupported, "avx512_bf16",
                 [&] { make_linear(view(weight, 2, 3), kBf16Precision); });
  }
}

TEST(Sgemm, MatchesTheReference) {
  constexpr int64_t kM = 37;
  constexpr int64_t kN = 50;
  constexpr int64_t kK = 65;
  constexpr int64_t kStride = 71;  // beyond every extent
  const auto a = random_values(kStride * kStride, 14);
  const auto b = random_values(kStride * kStride, 15);
  const auto before = random_values(kM * kStride, 16);
  for (const bool transpose_a : {false, true}) {
    for (const bool transpose_b : {false, true}) {
      for (const float beta : {0.0f, 1.0f, -0.5f}) {
        const GemmShape shape{transpose_a, transpose_b, kM, kN, kK};
        GuardedArray c(kM * kStride);
        std::copy(before.begin(), before.end(), c.data());
        sgemm(shape, 1.5f, a.data(), kStride, b.data(), kStride, beta, c.data(), kStride);
        const auto expected = ref::gemm(shape, 1.5, a.data(), kStride, b.data(), kStride, beta,
                                        before.data(), kStride);
        std::vector<float> dense;
        for (int64_t i = 0; i < kM; ++i) {
          const float* row = c.data() + i * kStride;
          dense.insert(dense.end(), row, row + kN);
          for (int64_t j = kN; j < kStride; ++j) ASSERT_EQ(row[j], before[i * kStride + j]);
        }
        expect_close(dense, expected, sum_tolerance(kK));
        EXPECT_TRUE(c.guards_intact());
      }
    }
  }
}

TEST(Sgemm, BetaZeroDoesNotReadTheOutput) {
  const std::vector<float> a = {1, 2, 3, 4};
  std::vector<float> c(4, std::numeric_limits<float>::quiet_NaN());
  sgemm({.m = 2, .n = 2, .k = 2}, 1, a.data(), 2, a.data(), 2, 0, c.data(), 2);
  EXPECT_EQ(c, (std::vector<float>{7, 10, 15, 22}));
}

TEST(Sgemm, EmptyExtents) {
  std::vector<float> c = {1, 2, 3, 4};
  sgemm({.m = 2, .n = 2, .k = 0}, 1, nullptr, 1, nullptr, 2, 0.5f, c.data(), 2);
  EXPECT_EQ(c, (std::vector<float>{0.5f, 1, 1.5f, 2}));
  sgemm({.m = 0, .n = 2, .k = 2}, 1, nullptr, 2, nullptr, 2, 0, c.data(), 2);
  sgemm({.m = 2, .n = 0, .k = 2}, 1, nullptr, 2, nullptr, 1, 0, c.data(), 1);
  EXPECT_EQ(c, (std::vector<float>{0.5f, 1, 1.5f, 2}));
  sgemm({.m = 2, .n = 2, .k = 0}, 1, nullptr, 1, nullptr, 2, 0, c.data(), 2);
  EXPECT_EQ(c, std::vector<float>(4, 0.0f));
}

}  // namespace
}  // namespace chunkllm
