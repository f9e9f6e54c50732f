#include "eval/ruler.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <map>

#include "engine/needle_engine.h"
#include "eval/columns.h"
#include "testing/expect_error.h"
#include "testing/temp_folder.h"

namespace chunkllm {
namespace {

std::string line_of(int index, int length, const std::string& number) {
  return nlohmann::json{{"index", index},
                        {"input", "The grass is green. The secret code of Alice is " + number +
                                      ". Here we go.\nWhat is the secret code of Alice?"},
                        {"outputs", {number, "never said"}},
                        {"answer_prefix", " The secret code of Alice is"},
                        {"length", length}}
             .dump() +
         "\n";
}

class RulerTest : public testing::Test {
 protected:
  RulerTest() {
    options_.policies = {&policy_named("full"), &policy_named("chunk")};
    options_.budgets = {"4096"};
    write_text(folder_ / "qa_1.jsonl", line_of(3, 900, "48213"));
    write_text(folder_ / "mine.jsonl",
               line_of(0, 1500, "91764") + line_of(1, 1024, "35517") + line_of(2, 1500, "60428"));
    options_.data = {folder_.path()};
  }

  std::vector<CellResult> run(const EvalWork& planned) {
    auto work = prepare_ruler(test::needle_engine(), options_);
    const std::vector<EvalColumn> columns = make_columns(eval_task_named("ruler"), options_);
    std::vector<const EvalColumn*> all;
    for (const EvalColumn& column : columns) all.push_back(&column);
    std::vector<CellResult> cells;
    for (const EvalUnit& unit : planned.units()) {
      work->run(
          unit, all,
          [&](const EvalColumn& column, const CellResult& result) {
            if (column.policy->selects()) return;
            cells.push_back(result);
          },
          [](int64_t) {}, nullptr);
    }
    return cells;
  }
  std::unique_ptr<EvalWork> prepare() { return prepare_ruler(test::needle_engine(), options_); }

  // The length of each unit.
  std::vector<int64_t> lengths() {
    std::vector<int64_t> lengths;
    for (const EvalUnit& unit : prepare()->units()) lengths.push_back(unit.ctx);
    return lengths;
  }

  EvalOptions options_;
  TempFolder folder_;
};

TEST_F(RulerTest, LinesAreAskedAndScoredByTheirTask) {
  const std::vector<CellResult> cells = run(*prepare());
  ASSERT_EQ(cells.size(), 4u);
  std::map<std::string, double> n;
  for (const CellResult& cell : cells) {
    const std::string task = cell.details["task"];
    n[task] += cell.measures.at(task).n;
    const auto& answer = cell.details["answers"][0];
    EXPECT_EQ(answer["question"], "What is the secret code of Alice?");
    EXPECT_EQ(answer["answer_begin"], " The secret code of Alice is");
    const std::string text = answer["answer"];
    const bool is_found = text.find(answer["expected"][0].get<std::string>()) != std::string::npos;
    EXPECT_TRUE(is_found) << text << ": the model goes on from the answer's first words";
    EXPECT_EQ(cell.measures.at("score").sum, task == "qa_1" ? 1.0 : 0.5);
  }
  EXPECT_EQ(n, (std::map<std::string, double>{{"mine", 3}, {"qa_1", 1}}));
  EXPECT_EQ(cells[0].details["index"], 1) << "lengths ascend, and files stand by name";
  EXPECT_EQ(cells[1].details["index"], 3);
}

TEST_F(RulerTest, LengthsAreThoseOfCtxOrPowersOfTwo) {
  EXPECT_EQ(lengths(), (std::vector<int64_t>{1024, 1024, 2048, 2048}));
  options_.ctx = {3000, 1000};
  EXPECT_EQ(lengths(), (std::vector<int64_t>{1000, 3000, 3000, 3000}));
  options_.ctx = {1024};
  EXPECT_EQ(lengths(), (std::vector<int64_t>{1024, 1024}));
  EXPECT_THAT(prepare()->notes(),
              testing::ElementsAre("lines longer than --ctx 1024 are left out: 2"));
  options_.ctx = {};
  options_.n_samples = 1;
  EXPECT_EQ(lengths(), (std::vector<int64_t>{1024, 2048})) << "the first of each file";
}

TEST_F(RulerTest, WhatCannotBeAskedIsSaid) {
  options_.ctx = {100};
  expect_error(ErrorCode::kInvalidArgument, "no line to ask of at most 100 tokens",
               [&] { prepare(); });
  options_.ctx = {};
  options_.data = {};
  expect_error(ErrorCode::kInvalidArgument, "ruler needs --data", [&] { prepare(); });
  const TempFolder empty;
  options_.data = {empty.path()};
  expect_error(ErrorCode::kInvalidArgument, "no line to ask; give .jsonl files",
               [&] { prepare(); });
  std::string long_text = "{\"index\":0,\"outputs\":[\"a\"],\"length\":9,\"input\":\"";
  for (int i = 0; i < 140000; ++i) long_text += "no ";
  write_text(folder_ / "long.jsonl", "\n" + long_text + "\"}\n");
  options_.data = {folder_ / "long.jsonl"};
  expect_error(ErrorCode::kData, "long.jsonl, line 2: prompt and answer have", [&] { prepare(); });
}

}  // namespace
}  // namespace chunkllm
