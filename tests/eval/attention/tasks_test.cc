// The tasks recall and icac as `chunkllm eval` runs them.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>

#include "data/made_texts.h"
#include "engine/needle_engine.h"
#include "eval/attention/icac.h"
#include "eval/attention/question_text.h"
#include "eval/attention/recall.h"
#include "eval/layer_values.h"
#include "eval/run.h"
#include "testing/expect_error.h"
#include "testing/temp_folder.h"

namespace chunkllm {
namespace {

using testing::HasSubstr;

const Engine& plain_engine() {
  static const Engine* const engine = [] {
    EngineOptions options;
    options.model = needle_model();
    options.dtype = DtypeChoice::kF32;
    auto* loaded = new Engine(options);
    loaded->load_weights();
    return loaded;
  }();
  return *engine;
}

EvalOptions short_texts() {
  EvalOptions options;
  options.ctx = {700};
  options.n_samples = 2;
  options.n_questions = 3;
  options.budgets = {"0.1", "0.25"};
  return options;
}

EvalReport run(const Engine& engine, const char* task, const EvalOptions& options,
               const std::filesystem::path& folder, const CancelToken* cancel = nullptr) {
  EvalPlan plan = plan_eval(engine, eval_task_named(task), options);
  return run_eval(engine, plan, folder, {}, cancel);
}

double mean_of(const nlohmann::ordered_json& series, size_t begin) {
  double sum = 0;
  for (size_t i = begin; i < series.size(); ++i) {
    sum += series[i].get<double>() / static_cast<double>(series.size() - begin);
  }
  return sum;
}

TEST(RecallTask, ResultsHaveTheNumbersOfLayers) {
  const TempFolder folder;
  const EvalReport report = run(test::needle_engine(), "recall", short_texts(), folder.path());
  const auto& row = report.json["results"].at(0);
  EXPECT_EQ(row["task"], "recall");
  EXPECT_EQ(row["ctx"], 700);
  EXPECT_EQ(row["samples"], 2);
  EXPECT_EQ(row["ratio"], nullptr);
  EXPECT_EQ(row["kv_retention"], 1.0);
  const auto& details = row["details"];
  EXPECT_EQ(details["layers"], nlohmann::ordered_json({0, 1, 2, 3, 4, 5}));
  // 3 places x (5 methods and the oracle x 2 budgets, recall by 5 methods)
  EXPECT_EQ(details["series"].size(), 3u * (6 * 2 + 5));
  for (const auto& [name, series] : details["series"].items()) EXPECT_EQ(series.size(), 6u) << name;
  const std::string name = "captured 0.1, prompt ends, chunk";
  const auto& series = details["series"][name];
  EXPECT_NEAR(row["score"].get<double>(), mean_of(series, 1), 1e-9);
  EXPECT_NEAR(row["parts"][name]["score"].get<double>(), mean_of(series, 1), 1e-9);
  EXPECT_NEAR(row["parts"][name + ", last third"]["score"].get<double>(), mean_of(series, 4), 1e-9);
  EXPECT_GT(row["score"].get<double>(), 0.3);
  EXPECT_LT(row["score"].get<double>(), 1.1);
  EXPECT_THAT(report.table, HasSubstr("| 700 | 0.25 | meankey |"));
  EXPECT_THAT(report.table, HasSubstr("| 700 | 0.1 | oracle, of all mass |"));
}

TEST(RecallTask, GoesOnFromCells) {
  const TempFolder folder;
  const EvalReport first = run(test::needle_engine(), "recall", short_texts(), folder.path());
  const std::string cells = read_text(folder / "cells.jsonl");
  const EvalReport second = run(test::needle_engine(), "recall", short_texts(), folder.path());
  EXPECT_EQ(first.json, second.json);
  EXPECT_EQ(first.table, second.table);
  EXPECT_EQ(read_text(folder / "cells.jsonl"), cells);
  // A cell less is made again as it was, up to the time it took.
  write_text(folder / "cells.jsonl", cells.substr(0, cells.find('\n') + 1));
  const EvalReport third = run(test::needle_engine(), "recall", short_texts(), folder.path());
  EXPECT_EQ(first.table, third.table);
  EvalOptions other = short_texts();
  other.budgets = {"0.2"};
  expect_error(ErrorCode::kInvalidArgument, "--kv-budget",
               [&] { run(test::needle_engine(), "recall", other, folder.path()); });
  write_text(folder / "cells.jsonl", cells.substr(0, cells.find("\"layers\":") + 9) + "3}\n");
  expect_error(ErrorCode::kData, "cells.jsonl:1: layers must be lists",
               [&] { run(test::needle_engine(), "recall", short_texts(), folder.path()); });
}

TEST(RecallTask, NeedsNoAdapter) {
  const TempFolder folder;
  const EvalReport report = run(plain_engine(), "recall", short_texts(), folder.path());
  const auto& row = report.json["results"].at(0);
  EXPECT_EQ(row["details"]["series"].size(), 3u * (5 * 2 + 4));
  EXPECT_EQ(row["details"]["series"].count("captured 0.1, prompt ends, chunk"), 0u);
  EXPECT_NEAR(row["score"].get<double>(),
              mean_of(row["details"]["series"]["captured 0.1, prompt ends, meankey"], 1), 1e-9);
}

TEST(RecallTask, SaysWhatCannotBe) {
  const TempFolder folder;
  const auto plan = [&](const EvalOptions& options) {
    plan_eval(test::needle_engine(), eval_task_named("recall"), options);
  };
  EvalOptions options = short_texts();
  options.budgets = {"0.1", "128"};
  expect_error(ErrorCode::kInvalidArgument, "--kv-budget 128: here it is a share",
               [&] { plan(options); });
  options.budgets = {"0.1", "0.10"};
  expect_error(ErrorCode::kInvalidArgument, "--kv-budget 0.10 is asked for twice",
               [&] { plan(options); });
  options = short_texts();
  options.n_questions = 60;
  expect_error(ErrorCode::kInvalidArgument, "700 tokens are too few", [&] { plan(options); });
  options = short_texts();
  options.ctx = {100};
  expect_error(ErrorCode::kInvalidArgument, "--ctx 100", [&] { plan(options); });
  CancelToken cancel;
  cancel.request();
  expect_error(ErrorCode::kInterrupted, "interrupted after 0 of 2 cells", [&] {
    run(test::needle_engine(), "recall", short_texts(), folder.path(), &cancel);
  });
}

TEST(IcacTask, ResultsHaveKindsOfText) {
  const TempFolder folder;
  EvalOptions options = short_texts();
  options.ctx = {1500};
  options.n_samples = 4;
  options.budgets = {"0.1"};
  const EvalReport report = run(test::needle_engine(), "icac", options, folder.path());
  const auto& row = report.json["results"].at(0);
  const auto& series = row["details"]["series"];
  EXPECT_EQ(series.size(), 9u * 5);
  double mean = 0;
  for (const char* kind : {"prose", "dialogue", "code", "json"}) {
    mean += mean_of(series[fmt::format("correlation, one chunk, {}", kind)], 1) / 4;
    EXPECT_THAT(report.table, HasSubstr(fmt::format("| 1500 | {} | fixed chunks |", kind)));
  }
  EXPECT_NEAR(mean, mean_of(series["correlation, one chunk"], 1), 1e-9);
  EXPECT_NEAR(row["score"].get<double>(), mean, 1e-9);
  EXPECT_THAT(report.table, HasSubstr("| 1500 | all | 0.1 |"));
}

TEST(IcacTask, ReadsTexts) {
  const TempFolder folder;
  Rng rng(3);
  std::filesystem::create_directory(folder / "out");
  write_text(folder / "text.txt", make_text_of(rng, TextKind::kProse, 20000));
  EvalOptions options = short_texts();
  options.data = {folder / "text.txt"};
  const EvalReport report = run(plain_engine(), "icac", options, folder / "out");
  const auto& row = report.json["results"].at(0);
  EXPECT_EQ(row["details"]["series"].size(), 2u * 3 + 3 * 2);
  EXPECT_EQ(row["samples"], 2);
  EXPECT_THAT(report.table, Not(HasSubstr("prose")));
}

// A conversation has as many prompt ends as questions, and what lies between them is answered.
TEST(QuestionTexts, AskAsManyQuestions) {
  const Engine& engine = test::needle_engine();
  const HaystackMaker haystacks(engine, {});
  const QuestionTexts texts(engine, haystacks);
  Rng rng(5);
  const Prompt prompt = texts.make(rng, 900, 4);
  EXPECT_LE(prompt.n_tokens(), 900);
  EXPECT_GT(prompt.n_tokens(), 600);
  ASSERT_EQ(prompt.ends.size(), 4u);
  EXPECT_EQ(prompt.ends.back(), prompt.n_tokens() - 1);
  ASSERT_EQ(prompt.answers.size(), 3u);
  for (size_t i = 0; i < 3; ++i) {
    EXPECT_EQ(prompt.answers[i].begin, prompt.ends[i] + 1);
    EXPECT_GT(prompt.answers[i].size(), 1);
    EXPECT_LE(prompt.answers[i].end, prompt.ends[i + 1]);
  }
  Rng same(5);
  EXPECT_EQ(texts.make(same, 900, 4).ids, prompt.ids);
}

TEST(LayerValues, MeansAreOverWhatHasNumbers) {
  const LayerValues values = {1.0, std::nullopt, 3.0, 5.0, 7.0, 9.0};
  EXPECT_EQ(typical_layers(24), (Range{4, 24}));
  EXPECT_EQ(typical_layers(6), (Range{1, 6}));
  EXPECT_DOUBLE_EQ(*typical_mean(values), 6);
  EXPECT_DOUBLE_EQ(*mean_over(values, third_of_layers(6, 0)), 1);
  EXPECT_DOUBLE_EQ(*mean_over(values, third_of_layers(6, 2)), 8);
  EXPECT_EQ(mean_over({std::nullopt}, {0, 1}), std::nullopt);
  EXPECT_EQ(typical_mean({}), std::nullopt);
  EXPECT_EQ(layer_line({"a", "b"}, {0.12345, std::nullopt}), "| a | b | 0.123 | - |\n");
}

}  // namespace
}  // namespace chunkllm
