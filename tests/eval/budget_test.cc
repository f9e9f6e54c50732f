// The search for a budget, over curves of scores that are made up and over answers of a model.

#include "eval/budget.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <map>
#include <set>

#include "base/random.h"
#include "data/synthetic.h"
#include "engine/needle_engine.h"
#include "eval/cells.h"
#include "testing/expect_error.h"
#include "testing/temp_folder.h"

namespace chunkllm {
namespace {

using testing::HasSubstr;

TEST(LastThatKeeps, FindsTheEdgeOfEveryMonotoneCurve) {
  for (int64_t n = 0; n <= 12; ++n) {
    for (int64_t n_good = 0; n_good <= n; ++n_good) {
      int64_t n_asked = 0;
      const auto found = last_that_keeps(n, [&](int64_t i, Range open) {
        ++n_asked;
        EXPECT_TRUE(open.contains(i));
        return i < n_good;
      });
      EXPECT_EQ(found, n_good > 0 ? std::optional(n_good - 1) : std::nullopt) << n;
      EXPECT_LE(n_asked, 4) << "as many as a bisection of 12 needs";
    }
  }
}

TEST(LastThatKeeps, AnyCurveIsCutWhereOneKeepsAndTheNextDoesNot) {
  Rng rng(7);
  for (int round = 0; round < 200; ++round) {
    std::vector<bool> keeps(9);
    for (size_t i = 0; i < keeps.size(); ++i) keeps[i] = rng.uniform() < 0.5;
    std::set<int64_t> asked;
    const auto found = last_that_keeps(9, [&](int64_t i, Range open) {
      EXPECT_TRUE(asked.insert(i).second) << "asked twice";
      EXPECT_LE(0, open.begin);
      EXPECT_LE(open.end, 9);
      return static_cast<bool>(keeps[static_cast<size_t>(i)]);
    });
    const auto is_known = [&](int64_t i, bool as) {
      return asked.contains(i) && keeps[static_cast<size_t>(i)] == as;
    };
    const int64_t next = found ? *found + 1 : 0;
    EXPECT_TRUE(!found || is_known(*found, true));
    EXPECT_TRUE(next == 9 || is_known(next, false));
  }
}

// Scores by length and budget, 1 for `full`; a noise that differs from sample to sample.
double (*g_curve)(int64_t ctx, double fraction) = nullptr;
double g_noise = 0;
bool g_scores_once = false;  // only the first sample does, under all columns

class CurveWork : public EvalWork {
 public:
  explicit CurveWork(const EvalOptions& options) : options_(options) {}
  std::vector<EvalUnit> units() const override {
    std::vector<EvalUnit> units;
    for (const int64_t ctx : options_.ctx) {
      for (int64_t i = 0; i < options_.n_samples; ++i) units.push_back({ctx, i, ctx});
    }
    return units;
  }
  nlohmann::ordered_json settings() const override { return {{"--ctx", options_.ctx}}; }
  void run(const EvalUnit& unit, std::span<const EvalColumn* const> columns, const CellDone& done,
           const Progress&, const CancelToken*) override {
    for (const EvalColumn* column : columns) {
      const double fraction = column->selection.budget.fraction.value_or(1.0);
      const double noise = unit.sample % 2 == 0 ? g_noise : -g_noise;
      double score = column->policy->selects() ? g_curve(unit.ctx, fraction) + noise : 1.0;
      if (g_scores_once && unit.sample > 0) score = 0;
      CellResult result;
      result.measures[kScore] = {10 * score, 10};
      result.decode = {10, 10 * (column->policy->selects() ? fraction : 1.0), 0};
      const double seconds = column->policy->selects() ? 1 : 3;
      result.details = {{"prefill_seconds", seconds},
                        {"prefilled_tokens", 100},
                        {"decode_seconds", 2 * seconds},
                        {"decoded_tokens", 10}};
      done(*column, result);
    }
  }

 private:
  EvalOptions options_;
};

const EvalTask kCurveTask{
    .name = "curve",
    .reads_prompts = true,
    .prepare = [](const Engine&, const EvalOptions& options) -> std::unique_ptr<EvalWork> {
      return std::make_unique<CurveWork>(options);
    }};

EvalOptions curve_options() {
  EvalOptions options;
  options.policies = {&policy_named("chunk")};
  options.budgets.assign(std::begin(kSearchedBudgets), std::end(kSearchedBudgets));
  options.selection.budget.min_tokens = 1;
  options.ctx = {4096};
  options.n_samples = 4;
  return options;
}

EvalReport search(const EvalOptions& options, const std::filesystem::path& folder,
                  const EvalCallbacks& callbacks = {}) {
  std::filesystem::create_directories(folder);
  BudgetPlan plan = plan_budget(test::needle_engine(), kCurveTask, options);
  return run_budget(test::needle_engine(), plan, folder, callbacks);
}

TEST(EvalBudget, RecommendsTheSmallestThatKeepsEnough) {
  const TempFolder folder;
  g_noise = 0;
  g_curve = [](int64_t ctx, double fraction) {
    return fraction >= (ctx == 4096 ? 0.25 : 0.07) ? 0.995 : 0.9;
  };
  EvalOptions options = curve_options();
  options.ctx = {4096, 8192};
  const EvalReport report = search(options, folder.path());
  const auto& budgets = report.json["budgets"];
  ASSERT_EQ(budgets.size(), 2u);
  EXPECT_EQ(budgets[0]["kv_budget"], 0.25);
  EXPECT_EQ(budgets[0]["next_smaller"]["kv_budget"], 0.18);
  EXPECT_NEAR(budgets[0]["next_smaller"]["ratio"], 0.9, 1e-9);
  EXPECT_NEAR(budgets[0]["ratio"], 0.995, 1e-9);
  EXPECT_NEAR(budgets[0]["prefill_speedup"], 3, 1e-9);
  EXPECT_NEAR(budgets[0]["decode_speedup"], 3, 1e-9);
  EXPECT_EQ(budgets[1]["ctx"], 8192);
  EXPECT_EQ(budgets[1]["kv_budget"], 0.07);
  EXPECT_LT(budgets[0]["tried"].size(), 5u) << "a bisection";
  EXPECT_EQ(budgets[0]["full_score"], 1);
  EXPECT_TRUE(budgets[0]["notes"].empty());
  EXPECT_THAT(report.table,
              HasSubstr("| 4096 | chunk, prefill chunk | 1.000 ± 0.000 | 0.25 | 25.0% |"));
  EXPECT_THAT(report.table, HasSubstr("0.18: 0.9000 ± 0.0000"));
  EXPECT_EQ(nlohmann::ordered_json::parse(read_text(folder / kResultsFile)), report.json);
}

TEST(EvalBudget, NoiseIsSaidAndHidesNothing) {
  const TempFolder folder;
  g_noise = 0.02;
  g_curve = [](int64_t, double fraction) { return fraction >= 0.1 ? 0.992 : 0.97; };
  const auto budgets = search(curve_options(), folder.path()).json["budgets"];
  EXPECT_EQ(budgets[0]["kv_budget"], 0.1);
  EXPECT_GT(budgets[0]["ratio_error"], 0.005);
  EXPECT_EQ(budgets[0]["next_smaller"]["kv_budget"], 0.07);
  EXPECT_TRUE(budgets[0]["notes"].empty()) << "an error of 1.2%";
  g_noise = 0.1;
  const auto doubtful = search(curve_options(), folder / "more").json["budgets"];
  ASSERT_EQ(doubtful[0]["notes"].size(), 1u);
  EXPECT_THAT(doubtful[0]["notes"][0].get<std::string>(),
              HasSubstr("errors are up to 5.8%, more than the 1.5% that matter"));
}

TEST(EvalBudget, WithoutAnErrorTheReasonIsSaid) {
  const TempFolder folder;
  g_noise = 0;
  g_curve = [](int64_t, double fraction) { return fraction >= 0.1 ? 1.0 : 0.9; };
  EvalOptions options = curve_options();
  options.n_samples = 1;
  const auto one = search(options, folder / "one").json["budgets"][0];
  EXPECT_EQ(one["kv_budget"], 0.1);
  EXPECT_TRUE(one["ratio_error"].is_null());
  ASSERT_EQ(one["notes"].size(), 1u);
  EXPECT_EQ(one["notes"][0], "one sample has no error; more --samples have");
  options.n_samples = 2;
  g_scores_once = true;
  const auto two = search(options, folder / "two").json["budgets"][0];
  g_scores_once = false;
  EXPECT_EQ(two["kv_budget"], 0.1);
  EXPECT_TRUE(two["ratio_error"].is_null());
  ASSERT_EQ(two["notes"].size(), 1u);
  EXPECT_THAT(two["notes"][0].get<std::string>(),
              HasSubstr("there is no error: without one of the samples full attention scores"));
}

TEST(EvalBudget, WhatIsNeverReachedIsSaid) {
  const TempFolder folder;
  g_noise = 0;
  g_curve = [](int64_t, double) { return 0.5; };
  const EvalReport never = search(curve_options(), folder / "never");
  EXPECT_TRUE(never.json["budgets"][0]["kv_budget"].is_null());
  EXPECT_EQ(never.json["budgets"][0]["notes"][0],
            "the largest budget keeps too little, 0.5: 0.5000 ± 0.0000");
  EXPECT_THAT(never.table, HasSubstr("| none |"));
  EXPECT_THAT(never.table,
              HasSubstr("chunk, prefill chunk at 4096 tokens: the largest budget keeps"));
  g_curve = [](int64_t, double) { return 1.0; };
  const EvalReport always = search(curve_options(), folder / "always");
  EXPECT_EQ(always.json["budgets"][0]["kv_budget"], 0.03);
  EXPECT_TRUE(always.json["budgets"][0]["next_smaller"].is_null());
  EXPECT_THAT(always.table, HasSubstr("smaller ones may do"));
}

TEST(EvalBudget, AnotherShareGoesOnWithTheSameCells) {
  const TempFolder folder;
  g_noise = 0;
  g_curve = [](int64_t, double fraction) { return fraction; };
  EvalOptions options = curve_options();
  options.keep = 0.3;
  EXPECT_EQ(search(options, folder.path()).json["budgets"][0]["kv_budget"], 0.35);
  options.keep = 0.2;
  std::vector<std::string> messages;
  EvalCallbacks callbacks;
  int64_t n_done = 0;
  callbacks.begin = [&](int64_t n, int64_t) { n_done += n; };
  callbacks.message = [&](const std::string& line) { messages.push_back(line); };
  EXPECT_EQ(search(options, folder.path(), callbacks).json["budgets"][0]["kv_budget"], 0.25);
  EXPECT_GE(n_done, 8) << "full and the first budget";
  ASSERT_FALSE(messages.empty());
  EXPECT_EQ(messages[0], "curve at 4096 tokens: full; chunk 0.12, prefill chunk");
}

TEST(EvalBudget, PoliciesWithoutBudgetsAreRefused) {
  const Engine& engine = test::needle_engine();
  EvalOptions options = curve_options();
  options.policies = {&full_policy()};
  expect_error(ErrorCode::kInvalidArgument, "needs a policy whose budget is searched",
               [&] { plan_budget(engine, kCurveTask, options); });
}

// The model itself, with perplexity as the second criterion.
TEST(EvalBudget, QuestionsAndTextsOfAModel) {
  const TempFolder folder;
  EvalOptions options;
  options.policies = {&policy_named("chunk")};
  options.budgets = {"0.9", "0.5", "0.3"};
  options.selection.budget.min_tokens = 64;
  options.selection.prefill_floor = 1;
  options.ctx = {600};
  options.n_samples = 1;
  options.n_questions = 2;
  options.needles = {NeedleKind::kSingle};
  options.values = {NeedleValue::kNumbers};
  options.keep = 0.5;
  Rng rng(3);
  write_text(folder / "text.txt", make_text(rng, 40000));
  options.data = {folder / "text.txt"};
  const Engine& engine = test::needle_engine();
  const EvalTask& task = eval_task_named("budget");
  BudgetPlan plan = plan_budget(engine, task, options);
  ASSERT_TRUE(plan.texts.has_value());
  std::filesystem::create_directories(folder / "out");
  const EvalReport report = run_budget(engine, plan, folder / "out");
  const auto& found = report.json["budgets"][0];
  ASSERT_FALSE(found["tried"].empty());
  if (!found["kv_budget"].is_null()) {
    EXPECT_GE(found["ratio"], 0.5);
    EXPECT_LE(found["perplexity_ratio"], 2.0);
    EXPECT_TRUE(std::filesystem::exists(folder / "out" / "ppl" / kResultsFile));
  }
  options.data = {folder / "short.txt"};
  write_text(folder / "short.txt", "A sentence. Another one. And a third, which is the last.");
  options.ctx = {900};
  plan = plan_budget(engine, task, options);
  EXPECT_FALSE(plan.texts.has_value());
  ASSERT_EQ(plan.notes.size(), 1u);
  EXPECT_THAT(plan.notes[0], HasSubstr("perplexity has no say: no text of --data has 900 tokens"));
}

}  // namespace
}  // namespace chunkllm
