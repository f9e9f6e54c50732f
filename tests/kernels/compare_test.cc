#include "compare.h"

#include <cmath>
#include <limits>
#include <vector>

namespace chunkllm::test {
namespace {

bool is_close(const std::vector<float>& actual, const std::vector<double>& expected,
              double tolerance) {
  return static_cast<bool>(
      compare(std::span<const float>(actual), std::span<const double>(expected), tolerance));
}

TEST(Compare, AcceptsEqualArraysAndSmallErrors) {
  EXPECT_TRUE(is_close({}, {}, 0));
  EXPECT_TRUE(is_close({1, -2, 3}, {1, -2, 3}, 0));
  EXPECT_TRUE(is_close({1.0001f, -2, 3}, {1, -2, 3}, 1e-4));
}

TEST(Compare, RejectsErrorsBeyondTheTolerance) {
  EXPECT_FALSE(is_close({1.01f, -2, 3}, {1, -2, 3}, 1e-4));
  EXPECT_FALSE(is_close({-1.01f, -2.02f}, {-1, -2}, 1e-3)) << "both negative";
}

TEST(Compare, RejectsAnErrorOfOneElementThatTheNormHides) {
  std::vector<double> expected(100000, 1.0);
  std::vector<float> actual(expected.begin(), expected.end());
  actual[500] = 1.2f;
  EXPECT_LT(0.2 / std::sqrt(1e5), 1e-3);
  EXPECT_FALSE(is_close(actual, expected, 1e-3));
}

TEST(Compare, RejectsWrongSigns) {
  EXPECT_FALSE(is_close({-1, -2, -3}, {1, 2, 3}, 1e-3));
  EXPECT_FALSE(is_close({1, 2, 3}, {-1, -2, -3}, 1e-3));
  EXPECT_FALSE(is_close({1, -2, 3}, {1, 2, 3}, 1e-3));
}

TEST(Compare, RejectsWhatIsNotFinite) {
  const float nan = std::numeric_limits<float>::quiet_NaN();
  const float infinity = std::numeric_limits<float>::infinity();
  EXPECT_FALSE(is_close({1, nan}, {1, 2}, 1e9));
  EXPECT_FALSE(is_close({1, 2}, {1, double{nan}}, 1e9));
  EXPECT_FALSE(is_close({nan}, {double{nan}}, 1e9));
  EXPECT_FALSE(is_close({infinity}, {double{infinity}}, 1e9));
}

TEST(Compare, RejectsDifferentSizes) {
  EXPECT_FALSE(is_close({1, 2}, {1, 2, 0}, 1));
  EXPECT_FALSE(is_close({1, 2, 0}, {1, 2}, 1));
}

TEST(Compare, AsksForZerosWhereZerosAreExpected) {
  EXPECT_TRUE(is_close({0, 0}, {0, 0}, 1e-3));
  EXPECT_FALSE(is_close({0, 1e-30f}, {0, 0}, 1e-3));
}

TEST(GuardedArray, SeesWritesOnEitherSide) {
  GuardedArray array(3);
  array.data()[0] = array.data()[2] = 1;
  EXPECT_TRUE(array.guards_intact());
  array.data()[3] = 1;
  EXPECT_FALSE(array.guards_intact());
  GuardedArray other(3);
  other.data()[-1] = 1;
  EXPECT_FALSE(other.guards_intact());
}

}  // namespace
}  // namespace chunkllm::test
