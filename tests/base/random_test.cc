#include "base/random.h"

#include <gtest/gtest.h>

#include <array>
#include <cmath>
#include <cstdint>

namespace chunkllm {
namespace {

TEST(Rng, IsSplitMix64) {
  // The first values of the reference implementation (Vigna, splitmix64.c) for the seed 1234567.
  Rng rng(1234567);
  for (const uint64_t expected : {6457827717110365317u, 3203168211198807973u, 9817491932198370423u,
                                  4593380528125082431u, 16408922859458223821u}) {
    EXPECT_EQ(rng.next(), expected);
  }
}

TEST(Rng, ACopyContinuesTheSequence) {
  Rng a(5);
  for (int i = 0; i < 10; ++i) a.next();
  Rng b = a;
  for (int i = 0; i < 10; ++i) EXPECT_EQ(a.next(), b.next());
  EXPECT_NE(Rng(1).next(), Rng(2).next());
}

TEST(Rng, UniformFillsItsInterval) {
  Rng rng(7);
  double sum = 0;
  double least = 1;
  double most = 0;
  constexpr int kDraws = 100'000;
  for (int i = 0; i < kDraws; ++i) {
    const double value = rng.uniform();
    sum += value;
    least = std::min(least, value);
    most = std::max(most, value);
  }
  EXPECT_GE(least, 0.0);
  EXPECT_LT(least, 1e-3);
  EXPECT_LT(most, 1.0);
  EXPECT_GT(most, 1 - 1e-3);
  EXPECT_NEAR(sum / kDraws, 0.5, 5 * std::sqrt(1.0 / 12 / kDraws));
}

TEST(Rng, BelowHitsEveryValueEqually) {
  Rng rng(9);
  std::array<int, 7> counts{};
  constexpr int kDraws = 70'000;
  for (int i = 0; i < kDraws; ++i) ++counts.at(static_cast<size_t>(rng.below(7)));
  for (const int count : counts) EXPECT_NEAR(count, kDraws / 7, 5 * std::sqrt(kDraws / 7.0));
  for (int i = 0; i < 10; ++i) EXPECT_EQ(rng.below(1), 0);
  for (int i = 0; i < 1000; ++i) {
    const int64_t value = rng.below(INT64_MAX);
    EXPECT_GE(value, 0);
    EXPECT_LT(value, INT64_MAX);
  }
}

TEST(Rng, NormalHasItsMoments) {
  Rng rng(11);
  constexpr int kDraws = 200'000;
  double sum = 0;
  double squares = 0;
  double fourths = 0;
  for (int i = 0; i < kDraws; ++i) {
    const double value = rng.normal();
    ASSERT_TRUE(std::isfinite(value));
    sum += value;
    squares += value * value;
    fourths += value * value * value * value;
  }
  EXPECT_NEAR(sum / kDraws, 0, 5 / std::sqrt(kDraws));
  EXPECT_NEAR(squares / kDraws, 1, 5 * std::sqrt(2.0 / kDraws));
  EXPECT_NEAR(fourths / kDraws, 3, 5 * std::sqrt(96.0 / kDraws));
}

}  // namespace
}  // namespace chunkllm
