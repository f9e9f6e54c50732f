// Comparison of kernel results with references, by norms rather than element by element ratios.
#pragma once

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <span>
#include <vector>

namespace chunkllm::test {

// An element may be off by this many times the relative tolerance of the whole, in units of the
// largest expected element: rounding errors of single elements scatter around their RMS.
constexpr double kElementSlack = 8.0;

// Succeeds if ||actual - expected|| <= tolerance ||expected|| and no element is off by more than
// kElementSlack * tolerance * max |expected|. Fails on different sizes and on any value that is not
// finite, on either side. Expected zeros all over ask for zeros.
template <typename Actual, typename Expected>
testing::AssertionResult compare(std::span<const Actual> actual, std::span<const Expected> expected,
                                 double tolerance) {
  if (actual.size() != expected.size()) {
    return testing::AssertionFailure()
           << actual.size() << " elements, expected " << expected.size();
  }
  double difference_square = 0;
  double expected_square = 0;
  double largest = 0;
  double worst = 0;
  size_t worst_at = 0;
  for (size_t i = 0; i < actual.size(); ++i) {
    const double a = static_cast<double>(actual[i]);
    const double e = static_cast<double>(expected[i]);
    if (!std::isfinite(a) || !std::isfinite(e)) {
      return testing::AssertionFailure() << "element " << i << " is " << a << ", expected " << e;
    }
    const double difference = std::abs(a - e);
    difference_square += difference * difference;
    expected_square += e * e;
    largest = std::max(largest, std::abs(e));
    if (difference > worst) {
      worst = difference;
      worst_at = i;
    }
  }
  const double norm = std::sqrt(difference_square);
  const double norm_limit = tolerance * std::sqrt(expected_square);
  const double element_limit = kElementSlack * tolerance * largest;
  if (norm <= norm_limit && worst <= element_limit) return testing::AssertionSuccess();
  return testing::AssertionFailure()
         << "norm of the difference " << norm << " (limit " << norm_limit << "); element "
         << worst_at << " is " << static_cast<double>(actual[worst_at]) << ", expected "
         << static_cast<double>(expected[worst_at]) << " (limit " << element_limit << ")";
}

// The same as a test expectation. `Expected` is float or double.
template <typename Expected>
void expect_close(const float* actual, const Expected* expected, int64_t n, double tolerance) {
  const auto size = static_cast<size_t>(n);
  EXPECT_TRUE(compare(std::span<const float>(actual, size),
                      std::span<const Expected>(expected, size), tolerance));
}

// As above, the sizes being compared too.
template <typename Expected>
void expect_close(const std::vector<float>& actual, const std::vector<Expected>& expected,
                  double tolerance) {
  EXPECT_TRUE(
      compare(std::span<const float>(actual), std::span<const Expected>(expected), tolerance));
}

// An output array between guard values: an out-of-range write by a kernel changes them.
class GuardedArray {
 public:
  explicit GuardedArray(int64_t n) : n_(n), storage_(static_cast<size_t>(n + 2 * kGuard), kValue) {}

  float* data() { return storage_.data() + kGuard; }
  const float* data() const { return storage_.data() + kGuard; }
  int64_t size() const { return n_; }
  std::vector<float> values() const { return {data(), data() + n_}; }
  // Whether every value before and after the array is still what it was.
  bool guards_intact() const {
    const auto untouched = [](float value) { return value == kValue; };
    return std::all_of(storage_.begin(), storage_.begin() + kGuard, untouched) &&
           std::all_of(storage_.end() - kGuard, storage_.end(), untouched);
  }

 private:
  static constexpr int64_t kGuard = 64;
  static constexpr float kValue = -12345.5f;

  int64_t n_;
  std::vector<float> storage_;
};

}  // namespace chunkllm::test
