#include "select/chunk/layer_shares.h"

#include <gtest/gtest.h>

#include <numeric>
#include <vector>

namespace chunkllm {
namespace {

const std::vector<double> kShares = {0, 0.5, 2.0, 0.5, 1.0};  // the first layer does not select

TEST(LayerShares, WithoutThemEachLayerHasTheBudget) {
  EXPECT_EQ(LayerShares().rows_of(3, 100, 1000), 100);
}

TEST(LayerShares, RowsAreTheBudgetTimesTheShare) {
  const LayerShares shares(kShares);
  EXPECT_EQ(shares.rows_of(1, 100, 1000), 50);
  EXPECT_EQ(shares.rows_of(2, 100, 1000), 200);
  EXPECT_EQ(shares.rows_of(4, 100, 1000), 100);
}

TEST(LayerShares, ABudgetAsLargeAsTheContextIsEverythingEverywhere) {
  const LayerShares shares(kShares);
  for (int64_t layer = 1; layer < 5; ++layer) {
    EXPECT_GE(shares.rows_of(layer, 1000, 1000), 1000);
    EXPECT_GE(shares.rows_of(layer, 5000, 1000), 1000);
  }
}

TEST(LayerShares, NoRowsStayNone) { EXPECT_EQ(LayerShares(kShares).rows_of(2, 0, 1000), 0); }

// Whatever a layer cannot use goes to the others: the mean stays the budget, none has more than is
// visible, and more budget is never fewer rows.
TEST(LayerShares, TheMeanIsTheBudgetAtEveryBudget) {
  const LayerShares shares(kShares);
  std::vector<int64_t> before(5, 0);
  for (int64_t budget = 1; budget <= 1000; ++budget) {
    int64_t sum = 0;
    for (int64_t layer = 1; layer < 5; ++layer) {
      const int64_t rows = shares.rows_of(layer, budget, 1000);
      EXPECT_LE(rows, 1000);
      EXPECT_GE(rows, before[static_cast<size_t>(layer)]) << budget;
      before[static_cast<size_t>(layer)] = rows;
      sum += rows;
    }
    EXPECT_NEAR(static_cast<double>(sum) / 4, static_cast<double>(budget), 1.5) << budget;
  }
}

}  // namespace
}  // namespace chunkllm
