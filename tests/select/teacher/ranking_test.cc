#include "select/teacher/ranking.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <numeric>

#include "base/random.h"

namespace chunkllm {
namespace {

using Indices = std::vector<int64_t>;

TEST(TopKIndices, DescendingWithTiesToTheLowerIndexAndNanLast) {
  const std::vector<float> values = {1.0f, std::nanf(""), 3.0f, 1.0f, -INFINITY, 3.0f};
  EXPECT_EQ(top_k_indices(values, 3), (Indices{2, 5, 0}));
  EXPECT_EQ(top_k_indices(values, 9), (Indices{2, 5, 0, 3, 4, 1}));
  EXPECT_TRUE(top_k_indices({}, 3).empty());
}

TEST(BestWithin, StopsAtTheFirstThatDoesNotFit) {
  const std::vector<float> scores = {1.0f, 4.0f, 3.0f, std::nanf(""), 2.0f};
  const Indices tokens = {5, 10, 20, 1, 1};
  EXPECT_EQ(best_within(scores, tokens, 9), Indices{});
  EXPECT_EQ(best_within(scores, tokens, 29), Indices{1});  // the third would fit, and comes after
  EXPECT_EQ(best_within(scores, tokens, 31), (Indices{1, 2, 4}));
  EXPECT_EQ(best_within(scores, tokens, 37), (Indices{1, 2, 4, 0, 3}));
  EXPECT_EQ(best_within(scores, tokens, -1), Indices{});
}

// With many ties and some that are no numbers.
TEST(BestWithin, IsTheBeginOfTheSortedOrder) {
  Rng rng(3);
  for (int round = 0; round < 200; ++round) {
    std::vector<float> scores;
    Indices tokens;
    const int64_t n = rng.below(40);
    for (int64_t j = 0; j < n; ++j) {
      scores.push_back(rng.below(9) == 0 ? std::nanf("") : static_cast<float>(rng.below(6)));
      tokens.push_back(1 + rng.below(9));
    }
    const int64_t budget = rng.below(100);
    Indices expected;
    int64_t left = budget;
    for (const int64_t j : top_k_indices(scores, n)) {
      left -= tokens[static_cast<size_t>(j)];
      if (left < 0) break;
      expected.push_back(j);
    }
    EXPECT_EQ(best_within(scores, tokens, budget), expected);
  }
}

TEST(RecallAtK, HandWorkedCases) {
  const std::vector<float> teacher = {0.1f, 0.5f, 0.1f, 0.1f, 0.2f};  // wants 1 and 4
  const std::vector<float> scores = {-1.0f, 4.0f, 3.0f, 1.0f, 2.0f};  // chooses 1 and 2
  EXPECT_DOUBLE_EQ(*recall_at_k(teacher, scores, 2), 0.5);
  EXPECT_DOUBLE_EQ(*recall_at_k(teacher, teacher, 2), 1.0);
  EXPECT_DOUBLE_EQ(*recall_at_k(teacher, scores, 3),
                   2.0 / 3.0);  // wants 0, too, the first of three
  // Every choice is right.
  EXPECT_EQ(recall_at_k(teacher, scores, 5), std::nullopt);
  EXPECT_EQ(recall_at_k(std::vector<float>(5, 0.0f), scores, 2), std::nullopt);
  // Only positive masses are wanted.
  EXPECT_DOUBLE_EQ(*recall_at_k(std::vector<float>{0, 0, 1, 0}, std::vector<float>{1, 0, 2, 0}, 3),
                   1.0);
}

TEST(MassOf, IsTheSumOfTheChosen) {
  const std::vector<float> masses = {0.5f, 0.25f, 0.125f};
  EXPECT_DOUBLE_EQ(mass_of(masses, Indices{0, 2}), 0.625);
  EXPECT_DOUBLE_EQ(mass_of(masses, {}), 0.0);
}

}  // namespace
}  // namespace chunkllm
