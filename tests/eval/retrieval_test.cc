#include "eval/retrieval.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <map>
#include <set>

#include "data/ruler/ruler.h"
#include "engine/needle_engine.h"
#include "eval/columns.h"
#include "testing/expect_error.h"
#include "testing/temp_folder.h"

namespace chunkllm {
namespace {

using Cells = std::map<std::string, std::vector<CellResult>>;  // by column

class RetrievalTest : public testing::Test {
 protected:
  RetrievalTest() {
    options_.policies = {&policy_named("full"), &policy_named("chunk")};
    options_.budgets = {"4096"};
    options_.prefills = {PrefillKind::kFull};
    options_.ctx = {1400};
    options_.n_samples = 1;
    options_.n_questions = 3;
  }

  Cells run() {
    const std::vector<EvalColumn> columns = make_columns(eval_task_named("retrieval"), options_);
    std::vector<const EvalColumn*> all;
    for (const EvalColumn& column : columns) all.push_back(&column);
    const auto work = prepare_retrieval(test::needle_engine(), options_);
    Cells cells;
    std::set<int64_t> samples;
    for (const EvalUnit& unit : work->units()) {
      EXPECT_TRUE(samples.insert(unit.ctx * 1000 + unit.sample).second) << "each unit once";
      work->run(
          unit, all,
          [&](const EvalColumn& column, const CellResult& result) {
            cells[column.name()].push_back(result);
          },
          [](int64_t) {}, nullptr);
    }
    notes_ = work->notes();
    return cells;
  }

  EvalOptions options_;
  std::vector<std::string> notes_;
  TempFolder folder_;
};

TEST_F(RetrievalTest, ATextOfEachTaskFillsTheContext) {
  options_.ctx = {2000};
  options_.policies = {&policy_named("full")};
  const Cells cells = run();
  ASSERT_EQ(cells.at("full").size(), 12u);
  std::set<std::string> tasks;
  for (const CellResult& cell : cells.at("full")) {
    const std::string task = cell.details["task"];
    tasks.insert(task);
    const bool is_json = task == "json";
    EXPECT_EQ(cell.measures.at("score").n, 1);
    EXPECT_EQ(cell.measures.at(task).n, is_json ? 3 : 1);
    EXPECT_EQ(cell.measures.contains("numbers"), is_json);
    double sum = 0;
    for (const auto& answer : cell.details["answers"]) {
      const std::vector<std::string> expected = answer["expected"];
      EXPECT_EQ(
          answer["score"].get<double>(),
          retrieval_score(retrieval_family(task), answer["answer"].get<std::string>(), expected));
      sum += answer["score"].get<double>();
    }
    EXPECT_EQ(cell.measures.at(task).sum, sum);
    EXPECT_DOUBLE_EQ(cell.measures.at("score").sum, sum / cell.measures.at(task).n);
    const auto n_tokens = cell.details["prompt_tokens"].get<int64_t>();
    const int64_t most = 2000 - retrieval_family(task).answer_tokens;
    EXPECT_LE(n_tokens, most) << task;
    EXPECT_GT(n_tokens, most - 140) << task;
  }
  EXPECT_EQ(tasks.size(), 12u);
  ASSERT_EQ(notes_.size(), 2u);
  EXPECT_EQ(notes_[0], "qa_1 is left out: --data names no file of SQuAD (.json)");
  EXPECT_EQ(notes_[1], "qa_2 is left out: --data names no file of HotpotQA (.json)");
}

TEST_F(RetrievalTest, ABudgetOfTheContextAnswersAsFull) {
  options_.tasks = {"json", "niah_single_1", "fwe"};
  const Cells cells = run();
  ASSERT_EQ(cells.at("full").size(), 3u);
  for (size_t i = 0; i < 3; ++i) {
    const CellResult& full = cells.at("full")[i];
    const CellResult& chunk = cells.at("chunk 4096, prefill full")[i];
    EXPECT_EQ(chunk.details["answers"], full.details["answers"]);
    EXPECT_EQ(full.details["read_by"], "chunk 4096, prefill full");
    EXPECT_EQ(chunk.decode.kv_retention(), 1.0);
  }
  EXPECT_TRUE(notes_.empty());
}

TEST_F(RetrievalTest, TextsDependOnNoOthers) {
  options_.policies = {&policy_named("full")};
  options_.tasks = {"niah_multikey_2"};
  const auto asked = [](const CellResult& cell) { return cell.details["answers"][0]["expected"]; };
  const Cells alone = run();
  options_.tasks = {"vt", "niah_multikey_2"};
  options_.n_samples = 2;
  options_.ctx = {1200, 1400};
  const Cells among = run();
  ASSERT_EQ(among.at("full").size(), 8u);
  EXPECT_EQ(asked(among.at("full")[5]), asked(alone.at("full")[0]));
  EXPECT_NE(asked(among.at("full")[7]), asked(alone.at("full")[0])) << "another sample";
  options_.seed = 1;
  EXPECT_NE(asked(run().at("full")[5]), asked(alone.at("full")[0]));
}

TEST_F(RetrievalTest, DataAreEssaysAndQuestions) {
  write_text(folder_ / "essay.txt", "Grumpf went home. Grumpf slept. Grumpf rose again.\n");
  write_text(folder_ / "squad.json",
             R"({"data": [{"paragraphs": [{"context": "Ann is a baker.", "qas": [
                 {"question": "What is Ann?", "answers": [{"text": "baker"}]}]}]}]})");
  options_.policies = {&policy_named("full")};
  options_.data = {folder_ / "essay.txt", folder_ / "squad.json"};
  options_.tasks = {"niah_single_2", "qa_1", "qa_2"};
  const Cells cells = run();
  ASSERT_EQ(cells.at("full").size(), 2u);
  EXPECT_EQ(cells.at("full")[1].measures.at("qa_1").n, 1);
  EXPECT_EQ(cells.at("full")[1].details["answers"][0]["expected"][0], "baker");
  EXPECT_THAT(notes_, testing::ElementsAre(testing::HasSubstr("qa_2 is left out")));
  options_.data.push_back(folder_ / "squad.json");
  expect_error(ErrorCode::kInvalidArgument, "second file of SQuAD", [&] { run(); });
}

TEST_F(RetrievalTest, WhatCannotBeAskedIsSaid) {
  options_.tasks = {"qa_1", "qa_2"};
  expect_error(ErrorCode::kInvalidArgument, "no task is left: qa_1 is left out", [&] { run(); });
  options_.tasks = {"niah"};
  expect_error(ErrorCode::kInvalidArgument, "--tasks niah: must be json, vt, cwe", [&] { run(); });
  options_.tasks = {"vt"};
  options_.ctx = {300};
  expect_error(ErrorCode::kInvalidArgument, "tokens are too few", [&] { run(); });
  options_.n_pairs = 1000000;
  options_.tasks = {"vt", "json"};
  options_.ctx = {4000, 1400};
  expect_error(ErrorCode::kInvalidArgument, "--pairs 1000000 cannot fit into 1400 tokens",
               [&] { run(); });
  options_.n_pairs = 3;
  options_.n_questions = 10;
  expect_error(ErrorCode::kInvalidArgument, "--questions 10 asks for more than the --pairs 3",
               [&] { run(); });
  options_.n_pairs = 0;
  options_.tasks = {"cwe"};
  options_.ctx = {100};
  expect_error(ErrorCode::kInvalidArgument,
               "--ctx 100 leaves no room beside an answer of 120 tokens", [&] { run(); });
  options_.ctx = {int64_t{1} << 40};
  expect_error(ErrorCode::kMemory, "KV cache", [&] { run(); });
}

}  // namespace
}  // namespace chunkllm
