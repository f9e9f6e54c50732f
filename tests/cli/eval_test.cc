// chunkllm eval as a user meets it: output, interruption, disks that are full or closed.

#include <sys/stat.h>

#include "cli/bad_input.h"

namespace chunkllm {
namespace {

using Arguments = std::vector<std::string>;

Arguments eval_arguments(const Scratch& scratch, const Arguments& more = {},
                         const std::string& samples = "2") {
  Arguments arguments{"eval",         "ppl",
                      "--model",      needle_model().string(),
                      "--adapter",    needle_adapter().string(),
                      "--ctx",        "400",
                      "--samples",    samples,
                      "--kv-budget",  "128",
                      "--no-report",  "--out",
                      scratch / "out"};
  arguments.insert(arguments.end(), more.begin(), more.end());
  return arguments;
}

// A line of LongBench.
constexpr const char* kCodeLine =
    "{\"dataset\": \"lcc\", \"context\": \"x = 1\\n\", \"input\": \"\", \"answers\": [\"y = 2\"], "
    "\"all_classes\": null, \"length\": 3}\n";

size_t n_lines(const std::filesystem::path& path) {
  const std::string text = read_text(path);
  return static_cast<size_t>(std::ranges::count(text, '\n'));
}

TEST(EvalCommand, PrintsATableOrJsonAndGoesOn) {
  const Scratch scratch;
  ProgramResult result = run_program(eval_arguments(scratch));
  EXPECT_EQ(result.exit_code, 0) << result.err;
  EXPECT_THAT(result.out, testing::HasSubstr("| context | policy | KV retention | perplexity |"));
  EXPECT_THAT(result.out, testing::HasSubstr("| 400 | chunk 128 |"));
  EXPECT_THAT(result.err, testing::HasSubstr("eval ppl: 4 cells\n"));
  EXPECT_THAT(result.err, testing::HasSubstr("for the other 3"));
  result = run_program(eval_arguments(scratch, {"--json"}));
  EXPECT_EQ(result.exit_code, 0) << result.err;
  EXPECT_THAT(result.err, testing::HasSubstr("4 cells, 4 of them done before"));
  const auto json = nlohmann::json::parse(result.out);
  EXPECT_EQ(json.at("results").size(), 2u);
  EXPECT_EQ(json, nlohmann::json::parse(read_text(scratch.path("out") / "results.json")));
  for (const char* field : {"task", "ctx", "policy", "kv_budget", "prefill", "kv_retention",
                            "prefill_retention", "score", "score_error", "n", "ratio"}) {
    EXPECT_TRUE(json["results"][1].contains(field)) << field;
  }
  result = run_program(eval_arguments(scratch, {"--seed", "7"}));
  expect_failure(result, kUsage, {"out holds cells with", "--seed", "0, not 7", "another --out"},
                 "eval_other_seed");
}

TEST(EvalCommand, TasksOfRetrievalAreToldApart) {
  const Scratch scratch;
  const ProgramResult result = run_program({"eval",         "retrieval",
                                            "--model",      needle_model().string(),
                                            "--adapter",    needle_adapter().string(),
                                            "--ctx",        "1000",
                                            "--samples",    "1",
                                            "--questions",  "2",
                                            "--tasks",      "json,niah_single_1,qa_1",
                                            "--kv-budget",  "512",
                                            "--values",     "numbers",
                                            "--no-report",  "--out",
                                            scratch / "out"});
  EXPECT_EQ(result.exit_code, 0) << result.err;
  EXPECT_THAT(result.err, testing::HasSubstr("note: qa_1 is left out: --data names no file of"));
  EXPECT_THAT(result.err, testing::HasSubstr("eval retrieval: 4 cells\n"));
  EXPECT_THAT(result.out, testing::HasSubstr("| score | json | niah_single_1 | of full | n |"));
  const auto json = nlohmann::json::parse(read_text(scratch.path("out") / "results.json"));
  for (const auto& row : json.at("results")) {
    EXPECT_EQ(row["parts"]["json"]["n"], 2);
    EXPECT_EQ(row["parts"]["niah_single_1"]["n"], 1);
    EXPECT_EQ(row["n"], 2);
  }
}

TEST(EvalCommand, AnInterruptedRunGoesOn) {
  const Scratch scratch;
  const std::filesystem::path cells = scratch.path("out") / "cells.jsonl";
  RunOptions options;
  options.interrupt_when = [&](const ProgramResult&) {
    return std::filesystem::exists(cells) && n_lines(cells) > 0;
  };
  ProgramResult result = run_program(eval_arguments(scratch, {}, "300"), options);
  expect_failure(result, kInterrupted, {"interrupted after", "of 600 cells", "goes on"},
                 "interrupted_eval");
  const size_t n_before = n_lines(cells);
  EXPECT_GT(n_before, 0u);
  EXPECT_LT(n_before, 600u);
  EXPECT_FALSE(std::filesystem::exists(scratch.path("out") / "results.json"));
  options.interrupt_when = [&](const ProgramResult&) { return n_lines(cells) > n_before; };
  result = run_program(eval_arguments(scratch, {}, "300"), options);
  expect_failure(result, kInterrupted, {"interrupted after"}, "interrupted_eval_again");
  EXPECT_THAT(result.err, testing::HasSubstr(std::to_string(n_before) + " of them done before"));
}

TEST(EvalCommand, AFullDiskLosesOneCell) {
  const Scratch scratch;
  RunOptions full_disk;
  full_disk.file_size_bytes = 2000;
  ProgramResult result = run_program(eval_arguments(scratch, {}, "10"), full_disk);
  expect_failure(result, kFailure, {"cannot write", "cells.jsonl", "File too large"},
                 "full_disk_eval");
  const size_t n_before = n_lines(scratch.path("out") / "cells.jsonl");
  EXPECT_GT(n_before, 0u);
  result = run_program(eval_arguments(scratch, {}, "10"));
  EXPECT_EQ(result.exit_code, 0) << result.err;
  EXPECT_THAT(result.err, testing::HasSubstr(std::to_string(n_before) + " of them done before"));
  EXPECT_EQ(n_lines(scratch.path("out") / "cells.jsonl"), 20u);
}

TEST(EvalCommand, ResultsThatCannotBeWrittenAreSaidBeforeAnythingRuns) {
  const Scratch scratch;
  std::filesystem::create_directories(scratch.path("out") / "results.json");
  expect_failure(run_program(eval_arguments(scratch)), kFailure, {"results.json"},
                 "eval_results_folder");
  EXPECT_FALSE(std::filesystem::exists(scratch.path("out") / "cells.jsonl"));
}

TEST(EvalCommand, RefusesWhatItCannotUse) {
  const Scratch scratch;
  const auto refuses = [&](int code, const Arguments& arguments, const Arguments& parts,
                           const std::string& name) {
    Arguments all{"eval"};
    all.insert(all.end(), arguments.begin(), arguments.end());
    expect_failure(run_program(all), code, parts, name);
    EXPECT_FALSE(std::filesystem::exists(scratch.path("out"))) << name;
  };
  const std::string model = needle_model().string();
  const std::string out = scratch / "out";
  refuses(kUsage, {"needles", "--model", model, "--out", out},
          {"there is no task 'needles'", "name niah, ", "ppl"}, "eval_no_task");
  refuses(kUsage, {"ppl", "--model", model}, {"--out"}, "eval_no_out");
  refuses(kUsage, {"ppl", "--model", model, "--out", out, "--kv-budget", "0.1,2.5"},
          {"--kv-budget 2.5"}, "eval_budget");
  refuses(kUsage, {"niah", "--model", model, "--out", out, "--needles", "none"},
          {"--needles none", "single"}, "eval_needles");
  refuses(kUsage, {"niah", "--model", model, "--out", out, "--depths", "101"}, {"--depths", "101"},
          "eval_depths");
  const std::pair<const char*, const char*> repeats[] = {
      {"--depths", "50,0,50"},         {"--ctx", "400,400"},       {"--kv-budget", "0.10,0.1"},
      {"--policy", "full,chunk,full"}, {"--prefill", "full,full"}, {"--needles", "single,single"},
      {"--values", "words,words"},     {"--tasks", "vt,vt"}};
  for (const auto& [option, list] : repeats) {
    refuses(kUsage, {"niah", "--model", model, "--out", out, option, list},
            {option, "twice; name each entry once"}, "eval_repeats");
  }
  refuses(kUsage, {"choice", "--model", model, "--out", out}, {"choice needs --data"},
          "eval_choice_data");
  refuses(kFailure,
          {"choice", "--model", model, "--out", out, "--data",
           scratch.file("items.jsonl", "{\"query\": \"a\", \"choices\": [], \"gold\": 0}\n")},
          {"items.jsonl, line 1", "choices"}, "eval_choice_line");
  refuses(kUsage, {"leval", "--model", model, "--out", out}, {"leval needs --data"},
          "eval_leval_data");
  refuses(kFailure,
          {"leval", "--model", model, "--out", out, "--data",
           scratch.file("tpo.jsonl",
                        "\n{\"evaluation\": \"exam\", \"input\": \"A text.\", "
                        "\"instructions\": [\"a\"], \"outputs\": []}\n")},
          {"tpo.jsonl, line 2", "outputs must be a list of texts"}, "eval_leval_line");
  refuses(
      kUsage,
      {"longbench", "--model", model, "--out", out, "--data", scratch.file("lcc.jsonl", kCodeLine)},
      {"dataset2prompt.json", "give --prompts"}, "eval_longbench_prompts");
  refuses(kUsage, {"retrieval", "--model", model, "--out", out, "--tasks", "vt,none"},
          {"--tasks none", "json, vt"}, "eval_tasks");
  refuses(kUsage, {"retrieval", "--model", model, "--out", out, "--pairs", "0"}, {"--pairs"},
          "eval_pairs");
  refuses(kUsage, {"ruler", "--model", model, "--out", out}, {"ruler needs --data"},
          "eval_ruler_data");
  refuses(kFailure,
          {"ruler", "--model", model, "--out", out, "--data",
           scratch.file("vt.jsonl", "{\"index\": 0, \"input\": \"a\", \"outputs\": []}\n")},
          {"vt.jsonl, line 1"}, "eval_ruler_line");
  refuses(kFailure, {"ppl", "--model", model, "--out", out, "--data", scratch / "none"},
          {"none does not exist"}, "eval_no_data");
  refuses(kFailure, {"ppl", "--model", model, "--out", scratch.file("file", "x") + "/out"},
          {"--out", "file"}, "eval_out_in_a_file");
}

TEST(EvalCommand, AsksTheQuestionsOfBenchmarks) {
  const Scratch scratch;
  const std::string data =
      scratch.file("tpo.jsonl",
                   "{\"evaluation\": \"exam\", \"input\": \"The secret code of Alice is 48213.\", "
                   "\"instructions\": [\"Who?\\nA. Alice\\nB. Bob\", \"What?\"], \"outputs\": "
                   "[\"A\", \"B\"]}\n");
  ProgramResult result =
      run_program({"eval", "leval", "--model", needle_model().string(), "--policy", "full",
                   "--data", data, "--prompts", "x", "--out", scratch / "leval"});
  EXPECT_EQ(result.exit_code, 0) << result.err;
  EXPECT_THAT(result.out, testing::HasSubstr("| tpo |"));
  EXPECT_THAT(result.err, testing::HasSubstr("note: --prompts has no effect on leval"));
  const std::string lines = scratch.file("lcc.jsonl", kCodeLine);
  scratch.file("dataset2prompt.json", "{\"lcc\": \"{context}Next line:\\n\"}");
  scratch.file("dataset2maxlen.json", "{\"lcc\": 4}");
  result = run_program({"eval", "longbench", "--model", needle_model().string(), "--policy", "full",
                        "--data", lines, "--out", scratch / "longbench"});
  EXPECT_EQ(result.exit_code, 0) << result.err;
  EXPECT_THAT(result.out, testing::HasSubstr("| lcc |"));
  EXPECT_EQ(n_lines(scratch.path("longbench") / "pred" / "full" / "lcc.jsonl"), 1u);
}

TEST(EvalCommand, NamesWhatHasNoEffect) {
  const Scratch scratch;
  const ProgramResult result = run_program(
      eval_arguments(scratch, {"--policy", "full", "--depths", "50", "--window", "9"}, "1"));
  EXPECT_EQ(result.exit_code, 0) << result.err;
  EXPECT_THAT(result.err, testing::HasSubstr("note: --depths has no effect on ppl"));
  EXPECT_THAT(result.err, testing::HasSubstr("--window has no effect under policy full"));
}

TEST(EvalCommand, ResultsSayWhatWasTypedAndAreDrawnWherePythonCan) {
  const Scratch scratch;
  Arguments arguments = eval_arguments(scratch, {"--seed", "3"}, "1");
  std::erase(arguments, "--no-report");
  const std::string out = scratch / "it's out";
  arguments[static_cast<size_t>(std::ranges::find(arguments, "--out") - arguments.begin()) + 1] =
      out;
  const ProgramResult result = run_program(arguments);
  EXPECT_EQ(result.exit_code, 0) << result.err;
  const auto json = nlohmann::json::parse(read_text(std::filesystem::path(out) / "results.json"));
  const std::string command = json.at("command");
  EXPECT_THAT(command, testing::HasSubstr(" eval ppl --model "));
  EXPECT_THAT(command, testing::HasSubstr("it'\\''s out' --seed 3"));
  const bool is_drawn = std::filesystem::exists(std::filesystem::path(out) / "report.html");
  EXPECT_THAT(result.err, testing::HasSubstr(is_drawn ? "report: " + out + "/report.html"
                                                      : "note: no report is drawn"));
  RunOptions no_python;
  no_python.environment = {"PYTHONHOME=" + scratch / "none"};
  std::filesystem::remove_all(out);
  const ProgramResult without = run_program(arguments, no_python);
  EXPECT_EQ(without.exit_code, 0) << without.err;
  EXPECT_THAT(without.err, testing::HasSubstr("note: no report is drawn"));
  EXPECT_THAT(without.err, testing::HasSubstr("script/report "));
  EXPECT_FALSE(std::filesystem::exists(std::filesystem::path(out) / "report.html"));
}

TEST(EvalCommand, ABudgetIsSearchedAndTheSearchGoesOn) {
  const Scratch scratch;
  const Arguments arguments{"eval",        "budget",
                            "--model",     needle_model().string(),
                            "--adapter",   needle_adapter().string(),
                            "--ctx",       "700",
                            "--samples",   "1",
                            "--questions", "2",
                            "--needles",   "single",
                            "--kv-budget", "0.5,0.9,0.3",
                            "--keep",      "0.6",
                            "--json",      "--kv-budget-min",
                            "64",          "--no-report",
                            "--out",       scratch / "out"};
  ProgramResult result = run_program(arguments);
  EXPECT_EQ(result.exit_code, 0) << result.err;
  EXPECT_THAT(result.err, testing::HasSubstr("a search among at most 4 cells\n"));
  EXPECT_THAT(result.err, testing::HasSubstr("budget at 700 tokens: full; chunk 0.5"));
  const auto json = nlohmann::json::parse(result.out);
  ASSERT_EQ(json.at("budgets").size(), 1u);
  EXPECT_EQ(json["budgets"][0].at("keep"), 0.6);
  EXPECT_TRUE(json["budgets"][0].contains("kv_budget"));
  result = run_program(arguments);
  EXPECT_EQ(result.exit_code, 0) << result.err;
  EXPECT_THAT(result.err, testing::HasSubstr("2 cells, 2 of them done before"));
  const auto without_rates = [](nlohmann::json budgets) {
    for (auto& budget : budgets) {
      budget.erase("prefill_speedup");
      budget.erase("decode_speedup");
    }
    return budgets;
  };
  EXPECT_EQ(without_rates(nlohmann::json::parse(result.out)["budgets"]),
            without_rates(json["budgets"]));
}

TEST(EvalCommand, TheLeastBudgetIsAnOption) {
  const Scratch scratch;
  const auto run_with = [&](const Arguments& more) {
    Arguments arguments = eval_arguments(scratch, more, "1");
    arguments[static_cast<size_t>(std::ranges::find(arguments, "128") - arguments.begin())] = "0.5";
    return run_program(arguments);
  };
  ProgramResult result = run_with({"--kv-budget-min", "100"});
  EXPECT_EQ(result.exit_code, 0) << result.err;
  EXPECT_THAT(result.out, testing::HasSubstr("| 400 | chunk 0.5 |"));
  result = run_with({"--kv-budget-min", "90"});
  expect_failure(result, kUsage, {"--kv-budget-min", "100, not 90"}, "eval_other_least");
  result = run_with({"--policy", "chunk"});
  expect_failure(result, kUsage, {"nothing is left", "324 tokens"}, "eval_nothing_left");
  Arguments by_default = eval_arguments(scratch, {}, "1");
  const auto budget = std::ranges::find(by_default, "--kv-budget");
  by_default.erase(budget, budget + 2);
  expect_failure(run_program(by_default), kUsage,
                 {"--kv-budget 0.1, the default, is below", "give --kv-budget in tokens"},
                 "eval_default_budget");
  result = run_program(eval_arguments(scratch, {"--kv-budget-min", "100"}, "1"));
  expect_failure(result, kUsage, {"--kv-budget-min is for a fractional"}, "eval_least_of_tokens");
}

}  // namespace
}  // namespace chunkllm
