#include "train/trial.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <map>
#include <nlohmann/json.hpp>

#include "base/error.h"
#include "testing/models.h"

namespace chunkllm {
namespace {

class TrialTest : public testing::Test {
 protected:
  TrialTest() : engine_(options()) {
    engine_.load_weights();
    options_.ctx = {1200};
    options_.tasks = {TaskKind::kNumber, TaskKind::kMultiValue, TaskKind::kJson};
    options_.answer_tokens = 12;
  }
  static EngineOptions options() {
    EngineOptions options;
    options.model = needle_model();
    options.adapters = {needle_adapter()};
    options.dtype = DtypeChoice::kF32;
    return options;
  }
  static TrialColumn chunk(std::string_view budget) {
    TrialColumn column{"chunk " + std::string(budget), &policy_named("chunk"), {}};
    column.selection.budget = KvBudget::parse(budget);
    return column;
  }

  Engine engine_;
  TrialOptions options_;
};

TEST_F(TrialTest, ABudgetOfEverythingAnswersAsFullDoesAndATenthAttendsToLess) {
  options_.columns = {{"full"}, chunk("1.0"), chunk("0.3")};
  options_.n_haystacks = 2;
  options_.n_questions = 2;
  std::map<std::string, std::string> answers;
  TrialCallbacks callbacks;
  callbacks.answer = [&](const TrialAnswer& answer) {
    // needle-6m cannot look up a UUID: what it says instead hangs on the last bit.
    if (answer.question->kind != TaskKind::kJson) {
      answers[std::string(answer.column)] += std::string(answer.answer) + "\n";
    }
    EXPECT_EQ(answer.score, answer_score(answer.answer, answer.question->expected));
  };
  int64_t n_last = 0;
  int64_t n_all = 0;
  callbacks.progress = [&](int64_t n_done, int64_t n_questions) {
    n_last = n_done;
    n_all = n_questions;
  };
  const TrialReport report = run_trial(engine_, options_, callbacks);
  EXPECT_EQ(n_last, n_all);
  EXPECT_EQ(n_all, 3 * 2 * 6);  // columns, haystacks, two questions of each kind
  EXPECT_EQ(answers["chunk 1.0"], answers["full"]);
  ASSERT_EQ(report.rows.size(), 3u);
  EXPECT_EQ(report.rows[1].kind, TaskKind::kMultiValue);
  const std::vector<TrialCost>& costs = report.costs.at(0);
  EXPECT_EQ(costs[0].decode.kv_retention(), 1.0);
  EXPECT_EQ(costs[1].decode.kv_retention(), 1.0);
  EXPECT_EQ(costs[0].prefill.retention(), 1.0);
  EXPECT_LE(costs[2].prefill.retention(), 1.0);
  EXPECT_GT(costs[2].decode.kv_retention(), 0.1);
  EXPECT_LT(costs[2].decode.kv_retention(), 0.6);
  for (const TrialCost& cost : costs) {
    EXPECT_GT(cost.n_prompt_tokens, 1000);
    EXPECT_LE(cost.n_prompt_tokens, 1200);
    // Two documents a haystack, read once each.
    EXPECT_LT(cost.n_prefilled, 2 * 2 * 1200 + 2000);
  }

  const std::string table = trial_table(report);
  for (const char* part : {"| context | task | full | chunk 1.0 | chunk 0.3 |", "| multi-value |",
                           "| json |", "share of full", "prefill retention", "100.0%"}) {
    EXPECT_THAT(table, testing::HasSubstr(part));
  }
  const nlohmann::ordered_json json = trial_json(report);
  EXPECT_EQ(json["tasks"].size(), 3u);
  EXPECT_EQ(json["lengths"].size(), 3u);
}

TEST_F(TrialTest, IsTheSameEachTime) {
  options_.columns = {{"full"}};
  options_.tasks = {TaskKind::kNumber, TaskKind::kVariables};
  const auto ask = [&](uint64_t seed) {
    std::string all;
    options_.seed = seed;
    TrialCallbacks callbacks;
    callbacks.answer = [&](const TrialAnswer& answer) {
      all += answer.question->question + std::string(answer.answer);
    };
    run_trial(engine_, options_, callbacks);
    return all;
  };
  EXPECT_EQ(ask(1), ask(1));
  EXPECT_NE(ask(1), ask(2));
}

TEST_F(TrialTest, RefusesWhatItCannotDo) {
  EXPECT_THROW(run_trial(engine_, options_), Error);  // no columns
  options_.columns = {{"full"}};
  options_.ctx = {60};
  EXPECT_THROW(run_trial(engine_, options_), Error);
  options_.ctx = {1200};
  options_.tasks = {TaskKind::kTable};
  EXPECT_THROW(run_trial(engine_, options_), Error);
  options_.tasks = {};
  EXPECT_THROW(run_trial(engine_, options_), Error);
}

TEST(TrialReport, SharesAreOfSumsAndErrorsByHaystack) {
  TrialReport report;
  report.columns = {"full", "chunk"};
  report.rows.push_back({100, TaskKind::kNumber, {{1, 1, 1, 0}, {1, 0, 1, 0}}});
  report.rows.push_back({100, TaskKind::kWord, {{1, 1, 1, 1}, {1, 1, 1, 0.5}}});
  report.rows.push_back({200, TaskKind::kWord, {{1, 1, 1, 1}, {0, 0, 0, 0}}});
  report.costs.resize(2, std::vector<TrialCost>(2));
  report.costs[0][0].ctx = report.costs[0][1].ctx = 100;
  report.costs[1][0].ctx = report.costs[1][1].ctx = 200;
  EXPECT_EQ(report.rows[0].mean_score(1), 0.5);
  EXPECT_EQ(report.ratio(0, 0).value().value, 1);
  EXPECT_EQ(report.ratio(0, 0).value().error, 0);
  EXPECT_DOUBLE_EQ(report.ratio(0, 1).value().value, 5.5 / 7);
  // Leaving out each haystack: 3.5/5, 4.5/5, 3.5/5, 5/6.
  double squares = 0;
  for (const double without : {3.5 / 5, 4.5 / 5, 3.5 / 5, 5.0 / 6}) {
    squares += (without - 5.5 / 7) * (without - 5.5 / 7);
  }
  EXPECT_DOUBLE_EQ(report.ratio(0, 1).value().error, std::sqrt(squares * 3 / 4));
  EXPECT_EQ(report.ratio(1, 1).value().value, 0);
}

TEST(TrialReport, OfNothingThereIsNoShare) {
  TrialReport report;
  report.columns = {"full", "chunk"};
  report.rows.push_back({100, TaskKind::kNumber, {{0, 0}, {0, 1}}});
  report.costs.resize(1, std::vector<TrialCost>(2));
  report.costs[0][0].ctx = report.costs[0][1].ctx = 100;
  EXPECT_FALSE(report.ratio(0, 0));
  EXPECT_FALSE(report.ratio(0, 1));
  EXPECT_THAT(trial_table(report), testing::HasSubstr("| share of full | - | - |"));
  const auto json = trial_json(report);
  for (const auto& length : json.at("lengths")) {
    EXPECT_TRUE(length.at("share").is_null()) << length;
    EXPECT_TRUE(length.at("share_error").is_null()) << length;
  }
}

}  // namespace
}  // namespace chunkllm
