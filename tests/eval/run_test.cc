// The frame: cells that are done stay done, and what cannot be gone on with is refused.

#include "eval/run.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <filesystem>
#include <sstream>

#include "engine/needle_engine.h"
#include "eval/cells.h"
#include "testing/expect_error.h"
#include "testing/temp_folder.h"

namespace chunkllm {
namespace {

using testing::HasSubstr;

EvalOptions small_options() {
  EvalOptions options;
  options.policies = {&policy_named("full"), &policy_named("chunk")};
  options.budgets = {"128"};
  options.ctx = {300, 400};
  options.n_samples = 2;
  return options;
}

struct PplRun {
  EvalReport report;
  int64_t n_before = -1;
  int64_t n_cells = 0;
  int64_t n_first = 0;
  int64_t tokens = 0;
};

PplRun run_ppl(const std::filesystem::path& folder, const EvalOptions& options = small_options()) {
  const Engine& engine = test::needle_engine();
  EvalPlan plan = plan_eval(engine, eval_task_named("ppl"), options);
  PplRun run;
  EvalCallbacks callbacks;
  callbacks.begin = [&](int64_t n_done, int64_t n_cells) {
    run.n_before = n_done;
    run.n_cells = n_cells;
  };
  callbacks.first_cell = [&](double seconds, int64_t n_left, double seconds_left) {
    ++run.n_first;
    EXPECT_GT(seconds, 0);
    EXPECT_EQ(n_left, run.n_cells - run.n_before - 1);
    EXPECT_GE(seconds_left, 0);
  };
  callbacks.progress = [&](int64_t n_done, int64_t n_total) {
    EXPECT_GE(n_done, run.tokens);
    EXPECT_LE(n_done, n_total);
    run.tokens = n_done;
  };
  run.report = run_eval(engine, plan, folder, callbacks);
  return run;
}

std::vector<std::string> lines_of(const std::filesystem::path& path) {
  std::istringstream text(read_text(path));
  std::vector<std::string> lines;
  for (std::string line; std::getline(text, line);) lines.push_back(line);
  return lines;
}

// Results are compared without what clocks say.
nlohmann::json without_seconds(nlohmann::json results) {
  for (auto& row : results) row.erase("seconds");
  return results;
}

TEST(EvalRun, GoesOnFromAnyNumberOfCells) {
  const TempFolder whole;
  const PplRun all = run_ppl(whole.path());
  EXPECT_EQ(all.n_before, 0);
  EXPECT_EQ(all.n_cells, 8);
  EXPECT_EQ(all.n_first, 1);
  EXPECT_EQ(all.tokens, 2 * 2 * (300 + 400));
  const std::vector<std::string> lines = lines_of(whole / kCellsFile);
  ASSERT_EQ(lines.size(), 8u);
  const nlohmann::json results = all.report.json["results"];
  ASSERT_EQ(results.size(), 4u);
  EXPECT_EQ(nlohmann::json::parse(read_text(whole / kResultsFile))["results"], results);

  for (const size_t n_kept : {size_t{0}, size_t{3}, size_t{7}, size_t{8}}) {
    const TempFolder part;
    std::filesystem::copy_file(whole / kEvalSettingsFile, part / kEvalSettingsFile);
    std::string text;
    for (size_t i = 0; i < n_kept; ++i) text += lines[i] + "\n";
    if (n_kept < 8) text += lines[n_kept].substr(0, 25);  // a crash cut this one short
    write_text(part / kCellsFile, text);
    const PplRun rest = run_ppl(part.path());
    EXPECT_EQ(rest.n_before, static_cast<int64_t>(n_kept));
    EXPECT_EQ(lines_of(part / kCellsFile).size(), 8u);
    EXPECT_EQ(without_seconds(rest.report.json["results"]), without_seconds(results)) << n_kept;
  }
}

// Beside the scores, which stay what they are; kept with the cells.
TEST(EvalRun, AnAuditSaysWhatWasMissed) {
  const TempFolder plain;
  const TempFolder audited;
  EvalOptions options = small_options();
  nlohmann::json expected = without_seconds(run_ppl(plain.path()).report.json["results"]);
  options.audit_every = 1;
  const PplRun run = run_ppl(audited.path(), options);
  EXPECT_THAT(run.report.table, HasSubstr("missed mass"));
  nlohmann::json results = run.report.json["results"];
  for (const nlohmann::json& row : results) {
    if (row["policy"] == "full") {
      EXPECT_FALSE(row.contains("missed_mass"));
    } else {
      EXPECT_GT(row["missed_mass"], 0.0);
      EXPECT_LT(row["missed_mass"], 1.0);
    }
  }
  EXPECT_EQ(run_ppl(audited.path(), options).report.json["results"], run.report.json["results"]);
  for (nlohmann::json& row : results) row.erase("missed_mass");
  EXPECT_EQ(without_seconds(results), expected);
  expect_error(ErrorCode::kInvalidArgument, "\"--audit\" = 1, not null",
               [&] { run_ppl(audited.path()); });
}

TEST(EvalRun, AnInterruptedRunKeepsItsCells) {
  const TempFolder folder;
  const Engine& engine = test::needle_engine();
  EvalPlan plan = plan_eval(engine, eval_task_named("ppl"), small_options());
  CancelToken cancel;
  EvalCallbacks callbacks;
  callbacks.first_cell = [&](double, int64_t, double) { cancel.request(); };
  expect_error(ErrorCode::kInterrupted, "interrupted after 1 of 8 cells; the same command goes on",
               [&] { run_eval(engine, plan, folder.path(), callbacks, &cancel); });
  EXPECT_EQ(lines_of(folder / kCellsFile).size(), 1u);
  EXPECT_FALSE(std::filesystem::exists(folder / kResultsFile));
  EXPECT_EQ(run_ppl(folder.path()).n_before, 1);
}

TEST(EvalRun, OtherSettingsAreRefusedByName) {
  const TempFolder folder;
  run_ppl(folder.path());
  const std::string cells = read_text(folder / kCellsFile);
  const auto refuses = [&](const std::string& part, auto change) {
    EvalOptions options = small_options();
    change(options);
    expect_error(ErrorCode::kInvalidArgument, part, [&] { run_ppl(folder.path(), options); });
    EXPECT_EQ(read_text(folder / kCellsFile), cells);
  };
  refuses("holds cells with \"--seed\" = 0, not 5", [](EvalOptions& options) { options.seed = 5; });
  refuses("\"--kv-budget\" = [128], not [256]",
          [](EvalOptions& options) { options.budgets = {"256"}; });
  refuses("\"--ctx\" = [300,400], not [300]", [](EvalOptions& options) { options.ctx = {300}; });
  refuses("\"--samples\" = 2, not 1", [](EvalOptions& options) { options.n_samples = 1; });
  refuses("\"--policy\" = [\"full\",\"chunk\"], not [\"full\"]",
          [](EvalOptions& options) { options.policies = {&full_policy()}; });
  refuses("\"--sink\"", [](EvalOptions& options) { options.selection.sink = 9; });
  EXPECT_EQ(run_ppl(folder.path()).n_before, 8);
}

TEST(EvalRun, MoreSamplesJoinThoseThatAreThere) {
  EvalOptions more = small_options();
  more.n_samples = 3;
  const TempFolder whole;
  const nlohmann::json expected =
      without_seconds(run_ppl(whole.path(), more).report.json["results"]);
  const TempFolder folder;
  run_ppl(folder.path());
  const PplRun grown = run_ppl(folder.path(), more);
  EXPECT_EQ(grown.n_before, 8);
  EXPECT_EQ(grown.n_cells, 12);
  EXPECT_EQ(without_seconds(grown.report.json["results"]), expected);
  EXPECT_EQ(nlohmann::json::parse(read_text(folder / kEvalSettingsFile))["--samples"], 3);
  expect_error(ErrorCode::kInvalidArgument, "\"--samples\" = 3, not 2",
               [&] { run_ppl(folder.path()); });
}

TEST(EvalRun, AnotherTaskIsNamedFirst) {
  const TempFolder folder;
  run_ppl(folder.path());
  EvalOptions options = small_options();
  options.budgets = {"0.1"};
  options.ctx = {4096};
  const Engine& engine = test::needle_engine();
  EvalPlan plan = plan_eval(engine, eval_task_named("recall"), options);
  expect_error(ErrorCode::kInvalidArgument, "\"task\" = ppl, not recall",
               [&] { run_eval(engine, plan, folder.path(), {}); });
}

TEST(EvalRun, FoldersThatAreNoneAreRefused) {
  const TempFolder folder;
  run_ppl(folder.path());
  const std::string cells = read_text(folder / kCellsFile);
  const auto refuses_cells = [&](const std::string& part, const std::string& text) {
    write_text(folder / kCellsFile, text);
    expect_error(ErrorCode::kData, part, [&] { run_ppl(folder.path()); });
    EXPECT_EQ(read_text(folder / kCellsFile), text);
  };
  const size_t first = cells.find('\n') + 1;
  refuses_cells("cells.jsonl:2", cells.substr(0, first) + "nonsense\n" + cells.substr(first));
  refuses_cells("cells.jsonl:1: policy", "{\"ctx\": 1}\n");
  refuses_cells("has no score",
                "{\"ctx\": 1, \"sample\": 0, \"policy\": \"full\", "
                "\"kv_budget\": null, \"prefill\": null, \"measures\": {}}\n");
  const auto with_n = [&](const std::string& n) {
    nlohmann::ordered_json cell =
        nlohmann::ordered_json::parse(cells.substr(first, cells.find('\n', first) - first));
    cell["measures"]["score"]["n"] = nlohmann::ordered_json::parse(n);
    return cells.substr(0, first) + cell.dump() + "\n";
  };
  refuses_cells("cells.jsonl:2: \"score\" is a sum over n = 0", with_n("0"));
  refuses_cells("cells.jsonl:2: \"n\" is -3", with_n("-3"));
  refuses_cells("kv_retention_sum is a sum of 1000 over", [&] {
    nlohmann::ordered_json cell = nlohmann::ordered_json::parse(cells.substr(0, first));
    cell["kv_retention_sum"] = 1000;
    return cell.dump() + "\n" + cells.substr(first);
  }());
  const std::pair<std::string, std::string> changes[] = {{"\"full\"", "\"none\""},
                                                         {"\"sample\":0", "\"sample\":9"},
                                                         {"\"ctx\":300", "\"ctx\":299"},
                                                         {"\"task\":\"ppl\"", "\"task\":\"niah\""}};
  for (const auto& [from, to] : changes) {
    std::string other = cells;
    other.replace(other.find(from), from.size(), to);
    refuses_cells("a cell that this evaluation has not", other);
  }
  write_text(folder / kCellsFile, cells);
  std::filesystem::remove(folder / kEvalSettingsFile);
  expect_error(ErrorCode::kData, "settings.json is missing", [&] { run_ppl(folder.path()); });
  for (const std::string damaged : {"", "[1]"}) {
    write_text(folder / kEvalSettingsFile, damaged);
    expect_error(ErrorCode::kData, "remove this folder, or give another --out",
                 [&] { run_ppl(folder.path()); });
  }
}

TEST(EvalRun, ABudgetBelowTheLeastIsLeftOut) {
  const TempFolder folder;
  EvalOptions options = small_options();
  options.budgets = {"0.5", "0.9"};
  options.selection.budget.min_tokens = 200;
  const Engine& engine = test::needle_engine();
  const EvalPlan plan = plan_eval(engine, eval_task_named("ppl"), options);
  ASSERT_EQ(plan.left_out.size(), 1u);
  EXPECT_EQ(plan.left_out[0].ctx, 300);
  EXPECT_EQ(plan.left_out[0].column->name(), "chunk 0.5");
  EXPECT_EQ(plan.left_out[0].least_tokens, 200);
  const PplRun run = run_ppl(folder.path(), options);
  EXPECT_EQ(run.n_cells, 10);
  EXPECT_EQ(run.report.json["left_out"].size(), 1u);
  EXPECT_EQ(run.report.json["results"].size(), 5u);
  options.selection.budget.min_tokens = 500;
  for (const auto& policies :
       {std::vector{&policy_named("chunk")}, std::vector{&full_policy(), &policy_named("chunk")}}) {
    options.policies = policies;
    expect_error(ErrorCode::kInvalidArgument, "nothing is left",
                 [&] { plan_eval(engine, eval_task_named("ppl"), options); });
  }
  options.policies = {&full_policy()};
  EXPECT_EQ(plan_eval(engine, eval_task_named("ppl"), options).n_cells(), 4);
}

TEST(EvalRun, TasksAreNamed) {
  expect_error(ErrorCode::kInvalidArgument, "there is no task 'pl'; name ",
               [] { eval_task_named("pl"); });
  EXPECT_THAT(eval_task_help(), HasSubstr("ppl (perplexity of texts)"));
}

}  // namespace
}  // namespace chunkllm
