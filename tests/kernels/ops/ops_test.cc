#include "kernels/ops/ops.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <array>
#include <bit>
#include <cmath>
#include <limits>
#include <tuple>
#include <vector>

#include "base/bf16.h"
#include "base/random.h"
#include "kernels/compare.h"
#include "kernels/ops/ref.h"

namespace chunkllm {
namespace {

using test::expect_close;
using test::GuardedArray;

constexpr double kEpsilon = std::numeric_limits<float>::epsilon();

std::vector<float> random_values(int64_t n, uint64_t seed) {
  Rng rng(seed);
  std::vector<float> values(static_cast<size_t>(n));
  for (float& value : values) value = static_cast<float>(rng.normal());
  return values;
}

// Lengths around the lane counts 1, 8 and 16, and large enough for several threads.
const std::vector<int64_t> kLengths = {1,  2,  7,  8,  9,  15,  16,  17,
                                       31, 33, 63, 64, 65, 100, 257, 70001};

TEST(RmsNorm, MatchesTheReference) {
  for (const auto& [n_tokens, d_model] : std::vector<std::pair<int64_t, int64_t>>{
           {1, 1}, {3, 7}, {1, 16}, {5, 33}, {2, 256}, {200, 257}, {1, 70001}}) {
    const auto x = random_values(n_tokens * d_model, 1);
    const auto weight = random_values(d_model, 2);
    GuardedArray y(n_tokens * d_model);
    rms_norm(x.data(), weight.data(), n_tokens, d_model, 1e-5f, y.data());
    expect_close(y.values(), ref::rms_norm(x.data(), weight.data(), n_tokens, d_model, 1e-5f),
                 8 * kEpsilon);
    EXPECT_TRUE(y.guards_intact());

    std::vector<float> in_place = x;
    rms_norm(in_place.data(), weight.data(), n_tokens, d_model, 1e-5f, in_place.data());
    EXPECT_EQ(in_place, y.values());
  }
}

TEST(RmsNorm, EpsilonKeepsZerosZero) {
  const std::vector<float> x(20, 0.0f);
  const auto weight = random_values(20, 3);
  GuardedArray y(20);
  rms_norm(x.data(), weight.data(), 1, 20, 1e-6f, y.data());
  EXPECT_EQ(y.values(), x);
}

TEST(RmsNormHeads, IsTheNormOfEachHeadAndLeavesTheRestAlone) {
  for (const auto& [n_tokens, n_heads, head_dim, padding] :
       std::vector<std::tuple<int64_t, int64_t, int64_t, int64_t>>{
           {1, 1, 8, 0}, {3, 2, 24, 5}, {70, 8, 128, 1024}}) {
    const int64_t row_stride = n_heads * head_dim + padding;
    const auto x = random_values(n_tokens * row_stride, 12);
    const auto weight = random_values(head_dim, 13);
    GuardedArray y(n_tokens * row_stride);
    std::ranges::copy(x, y.data());
    rms_norm_heads(y.data(), weight.data(), n_tokens, n_heads, head_dim, row_stride, 1e-6f);
    std::vector<double> expected(x.begin(), x.end());
    for (int64_t t = 0; t < n_tokens; ++t) {
      const auto heads =
          ref::rms_norm(x.data() + t * row_stride, weight.data(), n_heads, head_dim, 1e-6f);
      std::ranges::copy(heads, expected.begin() + t * row_stride);
    }
    expect_close(y.values(), expected, 8 * kEpsilon);
    EXPECT_TRUE(y.guards_intact());
  }
}

TEST(AddToRows, AddsOneRowToAll) {
  const auto x = random_values(33, 14);
  const auto before = random_values(5 * 33, 15);
  GuardedArray y(5 * 33);
  std::ranges::copy(before, y.data());
  add_to_rows(x.data(), 5, 33, y.data());
  for (size_t i = 0; i < before.size(); ++i) EXPECT_EQ(y.data()[i], before[i] + x[i % 33]);
  EXPECT_TRUE(y.guards_intact());
}

TEST(RopeTable, ScalesBoth) {
  const std::vector<float> frequencies{1.0f, 0.25f};
  std::vector<float> cosines(2), sines(2);
  rope_table(3, 1, frequencies.data(), 4, 1.5f, cosines.data(), sines.data());
  EXPECT_NEAR(cosines[1], 1.5 * std::cos(0.75), kEpsilon);
  EXPECT_NEAR(sines[0], 1.5 * std::sin(3.0), kEpsilon);
}

TEST(RopeTable, IsTheCosineAndSineOfTheFloatProduct) {
  constexpr int64_t kHeadDim = 64;
  std::vector<float> frequencies(kHeadDim / 2);
  for (size_t i = 0; i < frequencies.size(); ++i) {
    frequencies[i] = static_cast<float>(std::pow(500000.0, -2.0 * static_cast<double>(i) / 64));
  }
  for (const int64_t first : {int64_t{0}, int64_t{119990}, int64_t{1000000}}) {
    constexpr int64_t kTokens = 100;
    GuardedArray cosines(kTokens * kHeadDim / 2);
    GuardedArray sines(kTokens * kHeadDim / 2);
    rope_table(first, kTokens, frequencies.data(), kHeadDim, 1.0f, cosines.data(), sines.data());
    for (int64_t t = 0; t < kTokens; ++t) {
      for (int64_t i = 0; i < kHeadDim / 2; ++i) {
        const float angle = static_cast<float>(first + t) * frequencies[i];
        ASSERT_NEAR(cosines.data()[t * kHeadDim / 2 + i], std::cos(double{angle}), kEpsilon);
        ASSERT_NEAR(sines.data()[t * kHeadDim / 2 + i], std::sin(double{angle}), kEpsilon);
      }
    }
    EXPECT_TRUE(cosines.guards_intact() && sines.guards_intact());
  }
}

class RopeRotate : public testing::TestWithParam<std::tuple<int64_t, int64_t, int64_t, int64_t>> {};

TEST_P(RopeRotate, MatchesTheReferenceAndLeavesTheRestAlone) {
  const auto [n_tokens, n_heads, head_dim, row_padding] = GetParam();
  const int64_t row_stride = n_heads * head_dim + row_padding;
  const auto x = random_values(n_tokens * row_stride, 4);
  auto cosines = random_values(n_tokens * head_dim / 2, 5);
  auto sines = cosines;
  for (size_t i = 0; i < cosines.size(); ++i) {
    sines[i] = std::sin(cosines[i]);
    cosines[i] = std::cos(cosines[i]);
  }
  GuardedArray y(n_tokens * row_stride);
  std::copy(x.begin(), x.end(), y.data());
  rope_rotate(y.data(), n_tokens, n_heads, head_dim, row_stride, cosines.data(), sines.data());
  expect_close(y.values(),
               ref::rope_rotate(x.data(), n_tokens, n_heads, head_dim, row_stride, cosines.data(),
                                sines.data()),
               2 * kEpsilon);
  EXPECT_TRUE(y.guards_intact());
  for (int64_t t = 0; t < n_tokens; ++t) {
    for (int64_t i = n_heads * head_dim; i < row_stride; ++i) {
      ASSERT_EQ(y.data()[t * row_stride + i], x[t * row_stride + i]);
    }
  }

  for (float& sine : sines) sine = -sine;
  rope_rotate(y.data(), n_tokens, n_heads, head_dim, row_stride, cosines.data(), sines.data());
  expect_close(y.values(), x, 4 * kEpsilon);
}

INSTANTIATE_TEST_SUITE_P(Shapes, RopeRotate,
                         testing::Values(std::tuple{1, 1, 2, 0}, std::tuple{3, 2, 6, 5},
                                         std::tuple{1, 4, 32, 0}, std::tuple{7, 3, 64, 1},
                                         std::tuple{130, 8, 80, 17}, std::tuple{2, 1, 128, 0}));

TEST(SiluMul, MatchesTheReference) {
  for (const int64_t d_ff : kLengths) {
    const int64_t n_tokens = d_ff < 100 ? 3 : 1;
    auto x = random_values(2 * n_tokens * d_ff, 6);
    for (float& value : x) value *= 4.0f;
    GuardedArray y(n_tokens * d_ff);
    silu_mul(x.data(), n_tokens, d_ff, y.data());
    expect_close(y.values(), ref::silu_mul(x.data(), n_tokens, d_ff), 4 * kEpsilon);
    EXPECT_TRUE(y.guards_intact());
  }
}

TEST(SiluMul, LargeGatesNeitherOverflowNorVanish) {
  std::vector<float> gates = {-1e30f, -1000, -200, -104, -89,  -88,  -50,
                              50,     88,    89,   104,  1000, 1e30f};
  const auto n = static_cast<int64_t>(gates.size());
  std::vector<float> gate_up = gates;
  gate_up.resize(2 * gates.size(), 1.0f);
  GuardedArray y(n);
  silu_mul(gate_up.data(), 1, n, y.data());
  for (int64_t i = 0; i < n; ++i) {
    const double gate = gates[static_cast<size_t>(i)];
    const double expected = gate / (1.0 + std::exp(-gate));
    EXPECT_NEAR(y.data()[i], expected, 4 * kEpsilon * std::abs(expected) + 1e-7) << gate;
  }
}

TEST(GeluTanhMul, MatchesTheReference) {
  for (const int64_t d_ff : kLengths) {
    const int64_t n_tokens = d_ff < 100 ? 3 : 1;
    auto x = random_values(2 * n_tokens * d_ff, 6);
    for (float& value : x) value *= 4.0f;
    GuardedArray y(n_tokens * d_ff);
    gelu_tanh_mul(x.data(), n_tokens, d_ff, y.data());
    expect_close(y.values(), ref::gelu_tanh_mul(x.data(), n_tokens, d_ff), 8 * kEpsilon);
    EXPECT_TRUE(y.guards_intact());
  }
}

TEST(GeluTanhMul, LargeGatesNeitherOverflowNorVanish) {
  std::vector<float> gates = {-1e30f, -1000, -200, -104, -89,  -88,  -50,
                              50,     88,    89,   104,  1000, 1e30f};
  const auto n = static_cast<int64_t>(gates.size());
  std::vector<float> gate_up = gates;
  gate_up.resize(2 * gates.size(), 1.0f);
  GuardedArray y(n);
  gelu_tanh_mul(gate_up.data(), 1, n, y.data());
  for (int64_t i = 0; i < n; ++i) {
    const double gate = gates[static_cast<size_t>(i)];
    const double cube = gate * gate * gate;
    const double expected =
        gate / 2 * (1 + std::tanh(0.7978845608028654 * (gate + 0.044715 * cube)));
    EXPECT_NEAR(y.data()[i], expected, 4 * kEpsilon * std::abs(expected) + 1e-7) << gate;
  }
}

TEST(AddTo, AddsExactly) {
  for (const int64_t n : kLengths) {
    const auto x = random_values(n, 7);
    const auto before = random_values(n, 8);
    GuardedArray y(n);
    std::copy(before.begin(), before.end(), y.data());
    add_to(x.data(), n, y.data());
    for (int64_t i = 0; i < n; ++i) ASSERT_EQ(y.data()[i], before[i] + x[i]);
    EXPECT_TRUE(y.guards_intact());
  }
}

TEST(Dot, MatchesTheReference) {
  for (const int64_t n : kLengths) {
    const auto x = random_values(n, 9);
    const auto y = random_values(n, 10);
    double magnitude = 0;
    for (int64_t i = 0; i < n; ++i) magnitude += std::abs(double{x[i]} * y[i]);
    // The scalar level adds into four sums one by one.
    const double limit = kEpsilon * std::sqrt(static_cast<double>(n)) * magnitude;
    EXPECT_NEAR(dot(x.data(), y.data(), n), ref::dot(x.data(), y.data(), n), limit) << n;
  }
  EXPECT_EQ(dot(nullptr, nullptr, 0), 0.0f);
}

TEST(Dot, RowsAreWhatOneRowAtATimeGives) {
  Rng rng(5);
  for (const auto& [n_x, n_y, n] : {std::array<int64_t, 3>{1, 1, 1},
                                    {3, 700, 64},
                                    {21, 301, 128},
                                    {2, 5, 9000},
                                    {0, 4, 8},
                                    {4, 0, 8}}) {
    std::vector<float> x(static_cast<size_t>(n_x * n));
    std::vector<float> y(static_cast<size_t>(n_y * n));
    for (float& value : x) value = static_cast<float>(rng.normal());
    for (float& value : y) value = static_cast<float>(rng.normal());
    std::vector<float> out(static_cast<size_t>(n_x * n_y) + 1, -7.0f);
    dot_rows(x.data(), n_x, y.data(), n_y, n, 0.5f, out.data());
    for (int64_t i = 0; i < n_x; ++i) {
      for (int64_t j = 0; j < n_y; ++j) {
        ASSERT_EQ(out[static_cast<size_t>(i * n_y + j)],
                  0.5f * dot(x.data() + i * n, y.data() + j * n, n));
      }
    }
    EXPECT_EQ(out.back(), -7.0f);
  }
}

// Beside the definition in double, lengths around that of vectors.
TEST(MixHeads, IsTheLogarithmOfTheMeanOfSoftmaxesPerWeight) {
  Rng rng(6);
  for (const int64_t n_heads : {1, 2, 5}) {
    for (const int64_t n : {1, 7, 16, 33, 500}) {
      const int64_t stride = n + 3;
      std::vector<float> scores(static_cast<size_t>(n_heads * stride));
      std::vector<float> weight(static_cast<size_t>(n));
      for (float& value : scores) value = static_cast<float>(8 * rng.normal());
      for (float& value : weight) value = static_cast<float>(1 + rng.below(100));
      std::vector<float> out(static_cast<size_t>(n) + 1, -7.0f);
      std::vector<float> work(static_cast<size_t>(n) + 1, -7.0f);
      mix_heads(scores.data(), n_heads, stride, weight.data(), n, work.data(), out.data());
      EXPECT_EQ(work.back(), -7.0f);
      for (int64_t j = 0; j < n; ++j) {
        double mean = 0;
        for (int64_t h = 0; h < n_heads; ++h) {
          const float* row = scores.data() + h * stride;
          double sum = 0;
          for (int64_t i = 0; i < n; ++i) {
            sum +=
                double{weight[static_cast<size_t>(i)]} * std::exp(double{row[i]} - double{row[j]});
          }
          mean += 1 / sum / static_cast<double>(n_heads);
        }
        ASSERT_NEAR(out[static_cast<size_t>(j)], std::log(mean), 1e-4 * (1 - std::log(mean)))
            << n_heads << " heads, " << j << " of " << n;
      }
      EXPECT_EQ(out.back(), -7.0f);
    }
  }
}

TEST(MixHeads, WhatIsNotFiniteGetsTheLeastScore) {
  const std::vector<float> scores = {0.0f, NAN, -1e30f, 1.0f, NAN, NAN, NAN, NAN};
  const std::vector<float> weight(4, 1.0f);
  std::vector<float> out(4);
  std::vector<float> work(4);
  mix_heads(scores.data(), 1, 4, weight.data(), 4, work.data(), out.data());
  EXPECT_GT(out[3], out[0]);
  EXPECT_GT(out[0], out[1]);
  EXPECT_EQ(out[1], out[2]);
  EXPECT_NEAR(out[1], std::log(1e-37f), 1e-3f);
  mix_heads(scores.data() + 4, 1, 4, weight.data(), 4, work.data(), out.data());
  for (const float value : out) EXPECT_FALSE(value > 0);
}

TEST(RoundToBf16, GivesTheWordsOfToBf16) {
  std::vector<float> x;
  for (const uint32_t upper : {0x0000u, 0x0001u, 0x3f80u, 0x3f81u, 0x7f7fu, 0x7f80u, 0x7fc0u}) {
    for (const uint32_t lower : {0u, 1u, 0x7fffu, 0x8000u, 0x8001u, 0xffffu}) {
      for (const uint32_t sign : {0u, 0x80000000u}) {
        x.push_back(std::bit_cast<float>(sign | (upper << 16) | lower));
      }
    }
  }
  Rng rng(11);
  while (x.size() < 70001) x.push_back(std::bit_cast<float>(static_cast<uint32_t>(rng.next())));
  for (const int64_t n : kLengths) {
    constexpr uint16_t kGuard = 0xabcd;
    std::vector<uint16_t> y(static_cast<size_t>(n) + 64, kGuard);
    round_to_bf16(x.data(), n, y.data());
    for (int64_t i = 0; i < n; ++i) ASSERT_EQ(y[i], to_bf16(x[i]).bits) << x[i];
    for (size_t i = static_cast<size_t>(n); i < y.size(); ++i) ASSERT_EQ(y[i], kGuard);
  }
}

TEST(Ops, NothingToDoIsFine) {
  rms_norm(nullptr, nullptr, 0, 8, 1e-5f, nullptr);
  rope_table(0, 0, nullptr, 8, 1.0f, nullptr, nullptr);
  rope_rotate(nullptr, 0, 2, 8, 16, nullptr, nullptr);
  silu_mul(nullptr, 0, 8, nullptr);
  add_to(nullptr, 0, nullptr);
  round_to_bf16(nullptr, 0, nullptr);
}

}  // namespace
}  // namespace chunkllm
