#include "eval/benchmarks/longbench.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "base/json.h"
#include "base/json_log.h"
#include "eval/benchmarks/longbench_data.h"
#include "eval/run.h"
#include "eval/run_cells.h"
#include "testing/expect_error.h"
#include "testing/temp_folder.h"

namespace chunkllm {
namespace {

using test::run_all;
using testing::HasSubstr;

nlohmann::json line_of(const std::string& dataset) {
  return {{"dataset", dataset},
          {"context", "The river was quiet that day. The secret code of Alice is 48213."},
          {"input", "What is the secret code of Alice?"},
          {"answers", {"48213", "the code"}},
          {"all_classes", nullptr},
          {"length", 15},
          {"language", "en"},
          {"_id", "x"}};
}

class LongbenchTest : public testing::Test {
 protected:
  LongbenchTest() {
    write_prompts({{"qasper", "Article: {context}\n\nQuestion: {input} {{}}"},
                   {"trec", "{context}\n{input}"},
                   {"lcc", "{context}Next line:\n"},
                   {"passage_retrieval_en", "{context} {input}"}});
  }
  void write_prompts(const nlohmann::json& prompts) {
    nlohmann::json lengths;
    for (const auto& [name, prompt] : prompts.items()) lengths[name] = 8;
    write_text(folder_ / "dataset2prompt.json", prompts.dump());
    write_text(folder_ / "dataset2maxlen.json", lengths.dump());
  }
  void write(const std::vector<nlohmann::json>& lines) {
    std::string text;
    for (const nlohmann::json& line : lines) text += line.dump() + "\n";
    write_text(folder_ / "data.jsonl", text);
  }
  EvalOptions options() const {
    EvalOptions options;
    options.policies = {&policy_named("full"), &policy_named("chunk")};
    options.budgets = {"4096"};
    options.data = {folder_.path()};
    return options;
  }
  void expect_bad_line(const nlohmann::json& line, const std::string& part) {
    write({line_of("qasper"), line});
    for (const std::string& text : {std::string("data.jsonl, line 2"), part}) {
      expect_error(ErrorCode::kData, text, [&] { read_longbench({folder_.path()}, {}, 0); });
    }
  }

  TempFolder folder_;
};

TEST_F(LongbenchTest, ScoresLinesByDataset) {
  nlohmann::json classes = line_of("trec");
  classes["all_classes"] = {"Number", "City"};
  classes["answers"] = {"City"};
  write({line_of("qasper"), classes, line_of("lcc"), line_of("vcsum")});
  const test::Cells cells = run_all("longbench", options());
  ASSERT_EQ(cells.size(), 2u);
  const std::vector<CellResult>& full = cells.at("full");
  ASSERT_EQ(full.size(), 3u);
  const char* const names[] = {"qasper", "trec", "lcc"};
  for (size_t i = 0; i < 3; ++i) {
    const CellResult& cell = full[i];
    EXPECT_EQ(cell.measures.at("score").n, 1);
    EXPECT_EQ(cell.measures.at(names[i]).sum, cell.measures.at("score").sum);
    EXPECT_EQ(cell.details["dataset"], names[i]);
    EXPECT_EQ(cells.at("chunk 4096, prefill chunk")[i].details["pred"], cell.details["pred"]);
    EXPECT_EQ(cell.details["tokens_left_out"], 0);
  }
  EXPECT_THAT(prepare_longbench(test::needle_engine(), options())->notes(),
              testing::ElementsAre(HasSubstr("1 line is left out: Chinese")));
}

TEST_F(LongbenchTest, WritesPredictionsInTheBenchmarksForm) {
  nlohmann::json second = line_of("qasper");
  second["context"] = "Nothing — at all.";
  write({line_of("qasper"), line_of("lcc"), second});
  EvalPlan plan = plan_eval(test::needle_engine(), eval_task_named("longbench"), options());
  std::filesystem::create_directory(folder_ / "out");
  const EvalReport report = run_eval(test::needle_engine(), plan, folder_ / "out");
  EXPECT_EQ(report.json["results"][0]["parts"]["qasper"]["n"], 2);
  for (const char* column : {"full", "chunk_4096_prefill_chunk"}) {
    const std::filesystem::path folder = folder_ / "out" / "pred" / column;
    const std::vector<nlohmann::json> lines = read_json_log(folder / "qasper.jsonl");
    ASSERT_EQ(lines.size(), 2u);
    for (const nlohmann::json& line : lines) {
      EXPECT_EQ(line.size(), 4u);
      EXPECT_TRUE(line.at("pred").is_string());
      EXPECT_EQ(line.at("answers"), line_of("qasper")["answers"]);
      EXPECT_TRUE(line.at("all_classes").is_null());
      EXPECT_EQ(line.at("length"), 15);
    }
    EXPECT_EQ(read_json_log(folder / "lcc.jsonl").size(), 1u);
  }
  std::filesystem::remove_all(folder_ / "out" / "pred");
  run_eval(test::needle_engine(), plan, folder_ / "out");
  EXPECT_TRUE(std::filesystem::exists(folder_ / "out" / "pred" / "full" / "lcc.jsonl"))
      << "they come of the cells, whichever run made these";
}

TEST_F(LongbenchTest, LongPromptsLoseTheirMiddle) {
  nlohmann::json line = line_of("qasper");
  std::string text = "It begins here. ";
  for (int i = 0; i < 900; ++i) text += "The man number " + std::to_string(i) + " went home. ";
  line["context"] = text;
  nlohmann::json code = line;
  code["dataset"] = "lcc";
  write({line, code, line_of("lcc")});
  EvalOptions small = options();
  small.policies = {&policy_named("full")};
  small.ctx = {300};
  EXPECT_THAT(prepare_longbench(test::needle_engine(), small)->notes(),
              testing::ElementsAre("2 prompts lose their middle, to fit 300 tokens"));
  const test::Cells cells = run_all("longbench", small);
  for (size_t i = 0; i < 2; ++i) {
    const auto& details = cells.at("full")[i].details;
    EXPECT_LE(details["prompt_tokens"].get<int64_t>(), 292);
    EXPECT_GT(details["prompt_tokens"].get<int64_t>(), 280);
    EXPECT_GT(details["tokens_left_out"].get<int64_t>(), 4000);
  }
  EXPECT_EQ(cells.at("full")[2].details["tokens_left_out"], 0);
  small.ctx = {20};
  expect_error(ErrorCode::kInvalidArgument, "give a larger --ctx",
               [&] { prepare_longbench(test::needle_engine(), small); });
}

TEST_F(LongbenchTest, ShortLinesHaveTheContextThatTheyNeed) {
  nlohmann::json line = line_of("lcc");
  line["context"] = "x";
  write({line});
  const auto work = prepare_longbench(test::needle_engine(), options());
  EXPECT_LT(work->units()[0].ctx, 30);
  EXPECT_EQ(run_all("longbench", options()).at("full")[0].details["tokens_left_out"], 0);
}

TEST_F(LongbenchTest, PromptsHaveTwoFields) {
  const LongbenchPrompt prompt{"{{a}} {context}|{input}|{context}", 8};
  EXPECT_EQ(prompt.with("{input} c", "i"), "{a} {input} c|i|{input} c");
  write({line_of("qasper")});
  const auto refuses = [&](const nlohmann::json& prompts, const std::string& part) {
    write_prompts(prompts);
    expect_error(ErrorCode::kData, part,
                 [&] { prepare_longbench(test::needle_engine(), options()); });
  };
  for (const char* bad : {"{context} {", "{context} }", "{context} {length}", "{context", "{}"}) {
    refuses({{"qasper", bad}}, "dataset2prompt.json: qasper: a prompt may have the fields");
  }
  refuses({{"qasper", "{input}"}}, "the prompt of qasper has no {context}");
  refuses({{"trec", "{context}"}}, "qasper");
  refuses({{"qasper", 7}}, "qasper");
  std::filesystem::remove(folder_ / "dataset2prompt.json");
  expect_error(ErrorCode::kInvalidArgument, "give --prompts a folder",
               [&] { prepare_longbench(test::needle_engine(), options()); });
  EvalOptions elsewhere = options();
  elsewhere.prompts = folder_ / "none";
  expect_error(ErrorCode::kIo, "none",
               [&] { prepare_longbench(test::needle_engine(), elsewhere); });
}

TEST_F(LongbenchTest, RefusesLinesThatAreNone) {
  for (const char* field : {"dataset", "context", "input", "answers", "length"}) {
    nlohmann::json line = line_of("qasper");
    line.erase(field);
    expect_bad_line(line, field);
    line[field] = nlohmann::json::object();
    expect_bad_line(line, field);
  }
  nlohmann::json line = line_of("qasper");
  line["answers"] = nlohmann::json::array();
  expect_bad_line(line, "answers must be a list of texts, one at least");
  line = line_of("qasper");
  line["context"] = "";
  expect_bad_line(line, "context is empty");
  expect_bad_line(line_of("trec"), "all_classes");
  expect_bad_line(line_of("passage_retrieval_en"), "names no \"Paragraph N\"");
  expect_bad_line(line_of("mmlu"), "\"mmlu\" is none of LongBench's");
  write({line_of("vcsum")});
  expect_error(ErrorCode::kData, "Chinese", [&] { read_longbench({folder_.path()}, {}, 0); });
  write({line_of("qasper"), line_of("qasper")});
  EXPECT_EQ(read_longbench({folder_.path()}, {"qasper"}, 1).items.size(), 1u);
  expect_error(ErrorCode::kInvalidArgument, "no line of this dataset",
               [&] { read_longbench({folder_.path()}, {"lcc"}, 0); });
  expect_error(ErrorCode::kInvalidArgument, "no dataset of LongBench",
               [&] { read_longbench({folder_.path()}, {"vcsum"}, 0); });
  expect_error(ErrorCode::kInvalidArgument, "longbench needs --data",
               [&] { prepare_longbench(test::needle_engine(), {}); });
}

// The benchmark's own prompts, where somebody has put them.
TEST(LongbenchPrompts, AreReadAsTheBenchmarkHasThem) {
  const std::filesystem::path folder = CHUNKLLM_SOURCE_DIR "/../shared/data/longbench";
  if (!std::filesystem::exists(folder)) GTEST_SKIP() << folder << " is not there";
  LongbenchData data;
  for (const LongbenchDataset& dataset : longbench_datasets()) {
    data.items.push_back({.dataset = &dataset});
  }
  const LongbenchPrompts prompts = read_longbench_prompts(folder, {}, data);
  EXPECT_EQ(prompts.size(), 16u);
  EXPECT_EQ(prompts.at("gov_report").max_tokens, 512);
  EXPECT_EQ(prompts.at("lcc").with("x = 1\n", ""),
            "Please complete the code given below. \nx = 1\nNext line of code:\n");
}

}  // namespace
}  // namespace chunkllm
