#include "eval/results.h"

#include <gtest/gtest.h>

#include <cmath>

#include "eval/columns.h"
#include "testing/expect_error.h"

namespace chunkllm {
namespace {

EvalTask task_of(ScoreKind kind) { return {.name = "t", .score_kind = kind}; }

TEST(Estimate, IsTheMeanOfAllItemsWithAJackknifeErrorBySample) {
  const EvalTask task = task_of(ScoreKind::kMean);
  const std::vector<Measure> samples{{3, 4}, {2, 2}, {1, 4}};
  const Estimate estimate = estimate_score(task, samples);
  EXPECT_DOUBLE_EQ(estimate.value, 0.6);
  const std::vector<double> without{3.0 / 6, 4.0 / 8, 5.0 / 6};
  const double mean = (without[0] + without[1] + without[2]) / 3;
  double squares = 0;
  for (const double value : without) squares += (value - mean) * (value - mean);
  EXPECT_DOUBLE_EQ(estimate.error, std::sqrt(squares * 2 / 3));
  EXPECT_EQ(estimate_score(task, std::span(samples).first(1)).error, 0);
}

// Of samples of one item each the jackknife is the standard error of the mean.
TEST(Estimate, OfEqualSamplesTheErrorIsThatOfTheMean) {
  const std::vector<double> values{1, 0, 0, 1, 1, 0.5};
  std::vector<Measure> samples;
  double mean = 0;
  for (const double value : values) {
    samples.push_back({value, 1});
    mean += value / 6;
  }
  double squares = 0;
  for (const double value : values) squares += (value - mean) * (value - mean);
  EXPECT_NEAR(estimate_score(task_of(ScoreKind::kMean), samples).error, std::sqrt(squares / 5 / 6),
              1e-12);
}

TEST(Estimate, APerplexityIsOfAllTokensTogether) {
  const EvalTask task = task_of(ScoreKind::kPerplexity);
  const std::vector<Measure> samples{{-20, 10}, {-10, 10}};
  EXPECT_DOUBLE_EQ(estimate_score(task, samples).value, std::exp(1.5));
  const std::vector<Measure> of_full{{-10, 10}, {-10, 10}};
  const Estimate ratio = estimate_ratio(task, samples, of_full).value();
  EXPECT_DOUBLE_EQ(ratio.value, std::exp(0.5));
  EXPECT_GT(ratio.error, 0);
  EXPECT_EQ(estimate_ratio(task, of_full, of_full)->error, 0);
}

TEST(Estimate, ARatioToNothingIsNone) {
  const EvalTask task = task_of(ScoreKind::kMean);
  const std::vector<Measure> some{{1, 2}};
  const std::vector<Measure> none{{0, 2}};
  EXPECT_FALSE(estimate_ratio(task, some, none));
  EXPECT_EQ(estimate_ratio(task, none, some)->value, 0);
  // Without the first sample there is nothing to compare with, so the error is unknown.
  const std::vector<Measure> one_of_two{{1, 1}, {0, 1}};
  const Estimate itself = estimate_ratio(task, one_of_two, one_of_two).value();
  EXPECT_EQ(itself.value, 1);
  EXPECT_TRUE(std::isnan(itself.error));
}

TEST(Columns, ArePoliciesTimesWhatTheyRead) {
  EvalOptions options;
  options.policies = {&policy_named("full"), &policy_named("chunk")};
  options.budgets = {"0.1", "2048"};
  options.prefills = {PrefillKind::kChunk, PrefillKind::kFull};
  EvalTask task = task_of(ScoreKind::kMean);
  task.reads_prompts = true;
  std::vector<EvalColumn> columns = make_columns(task, options);
  ASSERT_EQ(columns.size(), 5u);
  EXPECT_EQ(columns[0].name(), "full");
  EXPECT_EQ(columns[1].name(), "chunk 0.1, prefill chunk");
  EXPECT_EQ(columns[4].name(), "chunk 2048, prefill full");
  EXPECT_EQ(columns[4].selection.budget.n_tokens, 2048);
  EXPECT_FALSE(columns[4].selection.budget.fraction);
  task.reads_prompts = false;
  columns = make_columns(task, options);
  ASSERT_EQ(columns.size(), 3u);
  EXPECT_EQ(columns[2].name(), "chunk 2048");
  options.budgets = {"0.1", "0.1"};
  expect_error(ErrorCode::kInvalidArgument, "chunk 0.1 is asked for twice",
               [&] { make_columns(task, options); });
  options.budgets = {"0.1", "0.10"};
  expect_error(ErrorCode::kInvalidArgument, "chunk 0.10 is asked for twice",
               [&] { make_columns(task, options); });
}

TEST(Columns, AFractionBelowTheLeastBudgetIsSeen) {
  SelectionSettings selection;
  selection.budget = KvBudget::parse("0.1");
  const PolicyEntry& chunk = policy_named("chunk");
  const auto least = least_budget_above(chunk, selection, {}, 3000);
  ASSERT_TRUE(least);
  EXPECT_EQ(*least, 324);  // 4 + 64 + 2 * 128
  EXPECT_FALSE(least_budget_above(chunk, selection, {}, 3240));
  selection.budget.min_tokens = 100;
  EXPECT_FALSE(least_budget_above(chunk, selection, {}, 3000));
  EXPECT_TRUE(least_budget_above(chunk, selection, {}, 999));
  EXPECT_FALSE(least_budget_above(full_policy(), selection, {}, 10));
  selection.budget = KvBudget::parse("1.0");
  EXPECT_FALSE(least_budget_above(chunk, selection, {}, 10));
  selection.budget = KvBudget::parse("64");
  EXPECT_FALSE(least_budget_above(chunk, selection, {}, 1000));
}

}  // namespace
}  // namespace chunkllm
