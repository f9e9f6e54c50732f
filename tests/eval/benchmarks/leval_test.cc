#include "eval/benchmarks/leval.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "eval/benchmarks/leval_data.h"
#include "eval/run.h"
#include "eval/run_cells.h"
#include "testing/expect_error.h"
#include "testing/temp_folder.h"

namespace chunkllm {
namespace {

using test::run_all;
using testing::HasSubstr;

constexpr const char* kTpo =
    "{\"instructions\": [\"What is the secret code of Alice?\\nA. 48213\\nB. 91764\", \"Who slept?"
    "\\nA. nobody\\nB. the river\"], \"outputs\": [\"A\", \"B\"], \"input\": \"The river was quiet "
    "that day. The secret code of Alice is 48213.\", \"source\": \"made up\", \"evaluation\": "
    "\"exam\"}\n";

nlohmann::json tpo_line() { return nlohmann::json::parse(kTpo); }

class LevalTest : public testing::Test {
 protected:
  void write(const std::string& name, const std::vector<nlohmann::json>& lines) {
    std::string text;
    for (const nlohmann::json& line : lines) text += line.dump() + "\n";
    write_text(folder_ / name, text);
  }
  EvalOptions options(const std::string& name = "") const {
    EvalOptions options;
    options.policies = {&policy_named("full"), &policy_named("chunk")};
    options.budgets = {"4096"};
    options.data = {folder_ / name};
    return options;
  }
  void expect_bad_line(const nlohmann::json& line, const std::string& part) {
    write("tpo.jsonl", {tpo_line(), line});
    expect_error(ErrorCode::kData, "tpo.jsonl, line 2",
                 [&] { read_leval({folder_ / "tpo.jsonl"}, {}, 0); });
    expect_error(ErrorCode::kData, part, [&] { read_leval({folder_ / "tpo.jsonl"}, {}, 0); });
  }

  TempFolder folder_;
};

TEST_F(LevalTest, ScoresQuestionsByTask) {
  write("tpo.jsonl", {tpo_line()});
  nlohmann::json truth = tpo_line();
  truth["instructions"] = {"Alice has a code, True or False?"};
  truth["outputs"] = {"True [fact: False]"};
  write("sci_fi.jsonl", {truth, truth});
  const test::Cells cells = run_all("leval", options());
  ASSERT_EQ(cells.size(), 2u);
  const std::vector<CellResult>& full = cells.at("full");
  ASSERT_EQ(full.size(), 2u) << "files by name, lines with one text together";
  EXPECT_EQ(full[0].measures.at("sci_fi").n, 2);
  EXPECT_EQ(full[1].measures.at("tpo").n, 2);
  EXPECT_EQ(full[1].measures.at("score").n, 2);
  EXPECT_FALSE(full[1].measures.contains("f1"));
  for (size_t i = 0; i < 2; ++i) {
    double sum = 0;
    for (const auto& answer : full[i].details["answers"]) sum += answer["score"].get<double>();
    EXPECT_EQ(full[i].measures.at("score").sum, sum);
    EXPECT_EQ(full[i].details["words_left_out"], 0);
    EXPECT_EQ(full[i].decode.kv_retention(), 1.0);
    const CellResult& chunk = cells.at("chunk 4096, prefill chunk")[i];
    EXPECT_EQ(chunk.details["answers"], full[i].details["answers"]) << "everything is attended to";
  }
}

TEST_F(LevalTest, OpenTasksAreScoredByF1AndRouge) {
  nlohmann::json line = tpo_line();
  line["evaluation"] = "f1";
  line["outputs"] = {"48213", "nobody did"};
  nlohmann::json rouge = line;
  rouge["evaluation"] = "rouge";
  rouge["input"] = "Another text. It is short.";
  nlohmann::json judged = line;
  judged["evaluation"] = "LLM";
  write("natural_question.jsonl", {line, rouge, judged});
  write("tpo.jsonl", {tpo_line()});
  EvalOptions named = options("natural_question.jsonl");
  named.policies = {&policy_named("full")};
  test::Cells cells = run_all("leval", named);
  ASSERT_EQ(cells.at("full").size(), 2u);
  const CellResult& by_f1 = cells.at("full")[0];
  const CellResult& by_rouge = cells.at("full")[1];
  EXPECT_EQ(by_f1.measures.at("natural_question").sum, by_f1.measures.at("f1").sum);
  EXPECT_EQ(by_f1.measures.at("score").n, 2);
  EXPECT_EQ(by_rouge.measures.at("natural_question").sum, by_rouge.measures.at("rouge-l").sum);
  EXPECT_EQ(by_rouge.measures.at("f1").n, 2);
  EXPECT_THAT(prepare_leval(test::needle_engine(), named)->notes(),
              testing::ElementsAre(HasSubstr("1 document is left out")));
  // Beside closed tasks they are no part of the score.
  named.data.push_back(folder_ / "tpo.jsonl");
  cells = run_all("leval", named);
  EXPECT_EQ(cells.at("full")[0].measures.at("score").n, 0);
  EXPECT_EQ(cells.at("full")[2].measures.at("score").n, 2);
}

TEST_F(LevalTest, TasksChooseAmongTheFilesOfAFolder) {
  nlohmann::json open = tpo_line();
  open["evaluation"] = "f1";
  write("tpo.jsonl", {tpo_line()});
  write("quality.jsonl", {tpo_line()});
  write("natural_question.jsonl", {open});
  write("notes.jsonl", {{{"any", 1}}});
  const auto names = [&](const std::vector<std::string>& tasks) {
    std::vector<std::string> list;
    for (const LevalDocument& document : read_leval({folder_.path()}, tasks, 0).documents) {
      list.emplace_back(document.task->name);
    }
    return list;
  };
  EXPECT_EQ(names({}), (std::vector<std::string>{"quality", "tpo"}));
  EXPECT_EQ(names({"tpo"}), std::vector<std::string>{"tpo"});
  EXPECT_EQ(names({"natural_question", "quality"}),
            (std::vector<std::string>{"natural_question", "quality"}));
  expect_error(ErrorCode::kInvalidArgument, "has no file gsm100.jsonl", [&] { names({"gsm100"}); });
  expect_error(ErrorCode::kInvalidArgument, "L-Eval has no such task", [&] { names({"mmlu"}); });
  expect_error(ErrorCode::kInvalidArgument, "named after no task",
               [&] { read_leval({folder_ / "notes.jsonl"}, {}, 0); });
}

TEST_F(LevalTest, LinesWithOneTextAreReadTogether) {
  nlohmann::json line = tpo_line();
  line["instructions"] = {"Question: 1 + 1?"};
  line["outputs"] = {"2"};
  std::vector<nlohmann::json> lines(23, line);
  lines.push_back(tpo_line());
  lines.back()["input"] = "Another text.";
  lines.back()["outputs"] = {"1", "2"};
  write("gsm100.jsonl", lines);
  const auto sizes = [&](int64_t n_samples) {
    std::vector<size_t> list;
    for (const LevalDocument& document : read_leval({folder_.path()}, {}, n_samples).documents) {
      list.push_back(document.questions.size());
    }
    return list;
  };
  EXPECT_EQ(sizes(0), (std::vector<size_t>{10, 10, 3, 2}));
  EXPECT_EQ(sizes(2), (std::vector<size_t>{10, 10}));
}

TEST_F(LevalTest, LongDocumentsLoseTheirEnd) {
  std::string text;
  for (int i = 0; i < 900; ++i) text += "The man number " + std::to_string(i) + " went home. ";
  nlohmann::json line = tpo_line();
  line["input"] = text;
  write("tpo.jsonl", {line, tpo_line()});
  EvalOptions small = options();
  small.policies = {&policy_named("full")};
  small.ctx = {700, 500};
  const auto work = prepare_leval(test::needle_engine(), small);
  EXPECT_THAT(work->notes(), testing::ElementsAre("1 document is cut to 700 tokens",
                                                  "1 document is cut to 500 tokens"));
  const test::Cells cells = run_all("leval", small);
  ASSERT_EQ(cells.at("full").size(), 4u);
  const auto& cut = cells.at("full")[0].details;
  EXPECT_LE(cut["prompt_tokens"].get<int64_t>(), 700 - 64);
  EXPECT_GT(cut["prompt_tokens"].get<int64_t>(), 700 - 64 - 20) << "no more is cut than has to be";
  EXPECT_GT(cut["words_left_out"].get<int64_t>(), 4000);
  EXPECT_EQ(cells.at("full")[1].details["words_left_out"], 0);
  EXPECT_GT(cells.at("full")[2].details["words_left_out"].get<int64_t>(),
            cut["words_left_out"].get<int64_t>());
  small.ctx = {100};
  expect_error(ErrorCode::kInvalidArgument, "tpo.jsonl, line 1: a question and its answer take",
               [&] { prepare_leval(test::needle_engine(), small); });
  small.ctx = {};
  const auto whole = prepare_leval(test::needle_engine(), small);
  EXPECT_LE(whole->units()[0].ctx, test::needle_engine().config().max_positions);
}

TEST_F(LevalTest, RefusesLinesThatAreNone) {
  for (const char* field : {"instructions", "outputs", "input", "evaluation"}) {
    nlohmann::json line = tpo_line();
    line.erase(field);
    expect_bad_line(line, field);
    line[field] = 7;
    expect_bad_line(line, field);
  }
  nlohmann::json line = tpo_line();
  line["outputs"] = {"A"};
  expect_bad_line(line, "2 instructions and 1 outputs");
  line = tpo_line();
  line["outputs"] = nlohmann::json::array();
  expect_bad_line(line, "outputs must be a list of texts");
  line["outputs"] = {"A", 3};
  expect_bad_line(line, "outputs must be a list of texts");
  line["outputs"] = {"A", "none"};
  expect_bad_line(line, "output 2 is \"none\"; tpo needs one of the letters A to D");
  line = tpo_line();
  line["input"] = " \n";
  expect_bad_line(line, "input is empty");
  line = tpo_line();
  line["evaluation"] = "f1";
  expect_bad_line(line, "evaluation is \"f1\"; of tpo it is exam");
  expect_bad_line("text", "line 2");
  line = tpo_line();
  line["evaluation"] = "LLM";
  write("tpo.jsonl", {line});
  expect_error(ErrorCode::kData, "holds no documents",
               [&] { read_leval({folder_ / "tpo.jsonl"}, {}, 0); });
  expect_error(ErrorCode::kInvalidArgument, "leval needs --data",
               [&] { prepare_leval(test::needle_engine(), {}); });
}

TEST_F(LevalTest, RunsAndGoesOn) {
  write("tpo.jsonl", {tpo_line()});
  EvalPlan plan = plan_eval(test::needle_engine(), eval_task_named("leval"), options());
  std::filesystem::create_directory(folder_ / "out");
  const EvalReport report = run_eval(test::needle_engine(), plan, folder_ / "out");
  EXPECT_THAT(report.table, HasSubstr("| tpo |"));
  EXPECT_EQ(report.json["results"][0]["parts"]["tpo"]["n"], 2);
  EXPECT_EQ(run_eval(test::needle_engine(), plan, folder_ / "out").json, report.json);
}

// The benchmark's own lines, where somebody has put them.
TEST(LevalData, ReadsTheBenchmark) {
  const std::filesystem::path folder = CHUNKLLM_SOURCE_DIR "/../shared/data/leval";
  if (!std::filesystem::exists(folder)) GTEST_SKIP() << folder << " is not there";
  std::map<std::string_view, size_t> n_questions;
  const LevalData data = read_leval({folder}, {}, 0);
  for (const LevalDocument& document : data.documents) {
    n_questions[document.task->name] += document.questions.size();
    for (const LevalQuestion& question : document.questions) {
      EXPECT_EQ(leval_exact_match(question.expected, question.counts, document.task->kind), 1)
          << document.where << ": " << question.expected;
    }
  }
  EXPECT_EQ(n_questions["tpo"], 269u);
  EXPECT_EQ(n_questions["quality"], 202u);
  EXPECT_EQ(n_questions["coursera"], 172u);
  EXPECT_EQ(n_questions["gsm100"], 100u);
  EXPECT_EQ(n_questions["topic_retrieval_longchat"], 150u);
  EXPECT_EQ(n_questions["sci_fi"], 64u);
  EXPECT_GT(read_leval({folder}, {"scientific_qa", "gov_report_summ"}, 0).n_judged, 0);
}

}  // namespace
}  // namespace chunkllm
