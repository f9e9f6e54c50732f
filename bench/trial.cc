// Held-out needle tasks under several policies and budgets: the trial that `train` ends with, at
// any size. Prints a Markdown table, and JSON to a file.

#include "train/trial.h"

#include <fmt/ranges.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <cstdio>
#include <fstream>
#include <iterator>
#include <memory>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <vector>

#include "base/atomic_file.h"
#include "base/error.h"
#include "base/threads.h"
#include "cli/selection_options.h"
#include "eval/columns.h"
#include "kernels/machine/isa.h"

namespace chunkllm {
namespace {

struct Options {
  std::string model, text, json;
  std::vector<std::string> adapters;
  std::vector<std::string> policies{"full", "chunk"};
  std::vector<std::string> budgets{"0.1"};
  std::vector<std::string> prefills{"chunk"};
  std::vector<std::string> tasks;
  std::string forms = "held-out";
  std::string dtype = "auto";
  TrialOptions trial;
  cli::SelectionArgs selection;  // but for budget and prefill
  int threads = 0;
  bool verbose = false;
};

// Each of `policies`; those that read budgets and prefill kinds with each of these.
std::vector<TrialColumn> columns_of(const Options& options) {
  std::vector<TrialColumn> columns;
  for (const std::string& name : options.policies) {
    const PolicyEntry& policy = policy_named(name);
    const bool by_budget = policy.reads(Setting::kKvBudget);
    const bool by_prefill = policy.reads(Setting::kPrefill);
    for (const std::string& prefill : options.prefills) {
      if (!by_prefill && prefill != options.prefills.front()) continue;
      for (const std::string& budget : options.budgets) {
        if (!by_budget && budget != options.budgets.front()) continue;
        TrialColumn column{name, &policy, options.selection.settings};
        if (by_budget) {
          const KvBudget given = column.selection.budget;
          column.selection.budget = KvBudget::parse(budget);
          column.selection.budget.min_tokens = given.min_tokens;
          column.name += " " + budget;
        }
        if (by_prefill) {
          column.selection.prefill = parse_enum<PrefillKind>("--prefill", prefill);
          if (options.prefills.size() > 1) column.name += " prefill " + prefill;
        }
        columns.push_back(std::move(column));
      }
    }
  }
  return columns;
}

// Leaves out columns whose budget is below its least number of tokens at a length.
std::vector<TrialColumn> usable_columns(const Options& options, const Engine& engine, int64_t ctx) {
  std::vector<TrialColumn> usable;
  for (TrialColumn& column : columns_of(options)) {
    const std::optional<int64_t> least =
        least_budget_above(*column.policy, column.selection, engine.adapters(), ctx);
    if (least) {
      std::fprintf(
          stderr, "%s at %lld tokens left out: less than the least budget of %lld tokens\n",
          column.name.c_str(), static_cast<long long>(ctx), static_cast<long long>(*least));
      continue;
    }
    usable.push_back(std::move(column));
  }
  return usable;
}

void print_answer(const TrialAnswer& answer) {
  std::string text(answer.answer);
  std::ranges::replace(text, '\n', ' ');
  std::fprintf(stderr, "%s\n",
               fmt::format("  {} #{} {:<24} {:.2f} {} | {} | {}", answer.ctx, answer.haystack,
                           answer.column, answer.score, answer.question->question,
                           fmt::join(answer.question->expected, ", "), text)
                   .c_str());
}

void run(Options& options) {
  if (!options.json.empty()) check_writable_file(options.json);
  active_isa();
  set_threads(options.threads > 0 ? options.threads : usable_cores());
  EngineOptions engine_options;
  engine_options.model = options.model;
  engine_options.adapters.assign(options.adapters.begin(), options.adapters.end());
  engine_options.dtype = parse_enum<DtypeChoice>("--dtype", options.dtype);
  Engine engine(engine_options);
  for (const std::string& name : options.policies) {
    require_adapter(policy_named(name), engine.adapters());
  }
  engine.load_weights();

  std::string text;
  if (!options.text.empty()) {
    std::ifstream file(options.text, std::ios::binary);
    if (!file) fail(ErrorCode::kIo, "cannot read {}", options.text);
    text.assign(std::istreambuf_iterator<char>(file), {});
    options.trial.text = text;
  }
  if (!options.tasks.empty()) {
    options.trial.tasks.clear();
    for (const std::string& name : options.tasks) {
      options.trial.tasks.push_back(parse_enum<TaskKind>("--tasks", name));
    }
  }
  options.trial.forms = parse_enum<Forms>("--forms", options.forms);

  nlohmann::ordered_json all = nlohmann::ordered_json::array();
  const std::vector<int64_t> lengths = options.trial.ctx;
  for (const int64_t ctx : lengths) {
    options.trial.ctx = {ctx};
    options.trial.columns = usable_columns(options, engine, ctx);
    TrialCallbacks callbacks;
    if (options.verbose) callbacks.answer = print_answer;
    const TrialReport report = run_trial(engine, options.trial, callbacks);
    std::printf("%s\n", trial_table(report).c_str());
    std::fflush(stdout);
    all.push_back(trial_json(report));
  }
  if (!options.json.empty()) write_file_atomically(options.json, all.dump(1) + '\n');
}

}  // namespace
}  // namespace chunkllm

int main(int argc, char** argv) {
  CLI::App app{"Held-out needle tasks, policy beside policy"};
  chunkllm::Options options;
  app.add_option("--model", options.model, "Model folder or GGUF file")->required();
  app.add_option("--adapter", options.adapters, "Adapter folder; may be given once for each kind");
  app.add_option("--policy", options.policies, "Policies, a list; the first is compared with")
      ->delimiter(',')
      ->capture_default_str();
  app.add_option("--budget", options.budgets, "Budgets of policies that have one, a list")
      ->delimiter(',')
      ->capture_default_str();
  app.add_option("--prefill", options.prefills, "How prompts are read, a list: chunk, full")
      ->delimiter(',')
      ->capture_default_str();
  app.add_option("--ctx", options.trial.ctx, "Prompt tokens, a list")
      ->delimiter(',')
      ->capture_default_str();
  app.add_option("--samples", options.trial.n_haystacks, "Haystacks a length")
      ->capture_default_str();
  app.add_option("--questions", options.trial.n_questions,
                 "Questions of each kind about a haystack")
      ->capture_default_str();
  app.add_option("--tasks", options.tasks, "Kinds of task, a list; default: all")->delimiter(',');
  app.add_option("--pairs", options.trial.n_pairs,
                 "Pairs of a JSON object inside a text; 0: no text, as many pairs as fit")
      ->capture_default_str();
  app.add_option("--answer-tokens", options.trial.answer_tokens, "Most tokens of an answer")
      ->capture_default_str();
  app.add_option("--text", options.text, "Text to hide the facts in; default: made up");
  app.add_option("--forms", options.forms, "Wordings: held-out, training")->capture_default_str();
  app.add_option("--seed", options.trial.seed, "Seed of texts and facts")->capture_default_str();
  app.add_option("--dtype", options.dtype, "auto, bf16, f32")->capture_default_str();
  app.add_option("--threads", options.threads, "Threads; 0: all usable cores")
      ->capture_default_str();
  app.add_option("--json", options.json, "File for the results");
  app.add_flag("--verbose", options.verbose, "Say each question and answer on stderr");
  constexpr chunkllm::Setting kLists[] = {chunkllm::Setting::kKvBudget,
                                          chunkllm::Setting::kPrefill};
  chunkllm::cli::add_selection_options(app, options.selection, kLists);
  CLI11_PARSE(app, argc, argv);
  try {
    chunkllm::run(options);
  } catch (const std::exception& e) {
    std::fprintf(stderr, "error: %s\n", e.what());
    return 1;
  }
}
