#include "kernels/quant/round.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <vector>

#include "base/random.h"

namespace chunkllm {
namespace {

constexpr float kInfinity = std::numeric_limits<float>::infinity();
constexpr float kNaN = std::numeric_limits<float>::quiet_NaN();

// Expects what the definition says of the block `at` of 32 values at x.
void expect_block(const Int8Rows& rows, int64_t at, const float* x) {
  float largest = 0;
  bool finite = true;
  for (int i = 0; i < kQuantBlock; ++i) {
    finite = finite && std::isfinite(x[i]);
    largest = std::max(largest, std::fabs(x[i]));
  }
  const bool zero = !finite || largest < 0x1p-100f;
  const float scale = rows.scales[at];
  if (finite) {
    EXPECT_EQ(scale, zero ? 0.0f : largest / 127.0f);
  } else {
    EXPECT_TRUE(std::isnan(scale));
  }
  int32_t sums[2] = {0, 0};
  for (int i = 0; i < kQuantBlock; ++i) {
    const float value = zero ? 0.0f : std::nearbyint(x[i] * (127.0f / largest));
    EXPECT_EQ(static_cast<float>(rows.values[at * kQuantBlock + i]), value) << "value " << i;
    sums[i / 16] += static_cast<int32_t>(value);
  }
  EXPECT_EQ(rows.sums[2 * at], sums[0]);
  EXPECT_EQ(rows.sums[2 * at + 1], sums[1]);
}

TEST(RoundToInt8, EqualsTheDefinitionBitForBit) {
  Rng rng(5);
  constexpr int64_t kTokens = 40;  // more than one thread's share
  constexpr int64_t kBlocks = 65;  // of which 72 are kept
  std::vector<float> x(kTokens * kBlocks * kQuantBlock);
  for (size_t i = 0; i < x.size(); ++i) {
    const auto block = static_cast<int64_t>(i) / kQuantBlock;
    const double size = std::exp2(static_cast<double>(block % 200) - 110);  // some below 2^-100
    x[i] = static_cast<float>((rng.uniform() - 0.5) * size);
    if (rng.uniform() < 0.1)
      x[i] = static_cast<float>(size * static_cast<double>(rng.below(4)) / 127);  // ties
  }
  x[3 * kQuantBlock + 7] = kNaN;
  x[4 * kQuantBlock] = kInfinity;
  x[5 * kQuantBlock + 31] = -kInfinity;
  std::fill_n(x.begin() + 6 * kQuantBlock, kQuantBlock, -0.0f);
  std::fill_n(x.begin() + 7 * kQuantBlock, kQuantBlock, -std::numeric_limits<float>::max());

  const Int8Rows rows = round_to_int8(x.data(), kTokens, kBlocks * kQuantBlock);
  ASSERT_EQ(rows.n_tokens, kTokens);
  ASSERT_EQ(rows.n_blocks, 72);
  for (int64_t t = 0; t < kTokens; ++t) {
    for (int64_t b = 0; b < kBlocks; ++b) {
      SCOPED_TRACE(testing::Message() << "token " << t << " block " << b);
      expect_block(rows, t * rows.n_blocks + b, x.data() + (t * kBlocks + b) * kQuantBlock);
    }
    for (int64_t b = kBlocks; b < rows.n_blocks; ++b) {
      EXPECT_EQ(rows.scales[t * rows.n_blocks + b], 0.0f);
      EXPECT_EQ(rows.values[(t * rows.n_blocks + b) * kQuantBlock], 0);
    }
  }
}

}  // namespace
}  // namespace chunkllm
