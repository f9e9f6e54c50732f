#include "train/feature_scales.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace chunkllm {
namespace {

template <typename T>
void expect_scales() {
  const std::vector<T> squares{T(4), T(0.25), T(0), T(1e-20)};
  EXPECT_THAT(feature_scales<T>(squares),
              testing::Pointwise(testing::FloatEq(), {0.5f, 2.0f, 1e6f, 1e6f}));
}

TEST(FeatureScales, AreOneOverTheRootAndBounded) {
  expect_scales<float>();
  expect_scales<double>();
}

// Fits depend on the last bit, so each kind keeps its own.
TEST(FeatureScales, AreComputedInTheTypeOfTheSquares) {
  int n_differences = 0;
  for (int i = 1; i < 1000; ++i) {
    const float square = 0.001f * static_cast<float>(i);
    const double wide = square;
    const float scale = feature_scales<float>(std::span<const float>(&square, 1)).front();
    EXPECT_EQ(scale, 1.0f / std::sqrt(square));
    EXPECT_EQ(feature_scales<double>(std::span<const double>(&wide, 1)).front(),
              static_cast<float>(1.0 / std::sqrt(wide)));
    n_differences +=
        scale != feature_scales<double>(std::span<const double>(&wide, 1)).front() ? 1 : 0;
  }
  EXPECT_GT(n_differences, 0) << "one type would do";
}

}  // namespace
}  // namespace chunkllm
