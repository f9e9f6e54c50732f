// chunkllm eval: what a policy keeps of a model, task by task.

#include <cstdio>
#include <filesystem>
#include <limits>
#include <memory>
#include <nlohmann/json.hpp>

#include "base/atomic_file.h"
#include "base/error.h"
#include "cli/command_line.h"
#include "cli/common.h"
#include "cli/options.h"
#include "cli/report_script.h"
#include "data/ruler/ruler.h"
#include "eval/budget.h"
#include "eval/cells.h"

namespace chunkllm::cli {
namespace {

struct EvalArgs {
  std::string task;
  EngineArgs engine;
  SelectionArgs selection;
  std::optional<KvType> kv_type;
  std::vector<std::string> policies;
  std::vector<std::string> budgets;  // none given: the task's own
  std::vector<std::string> prefills{"chunk"};
  std::vector<std::string> needles;
  std::vector<std::string> values;
  std::vector<std::string> data;
  std::vector<std::string> given;  // options that only some tasks read
  std::string out;
  bool json = false;
  bool no_report = false;
  EvalOptions eval;
};

void say(const std::string& line) { std::fprintf(stderr, "%s\n", line.c_str()); }

template <typename E>
std::vector<E> parse_list(std::string_view option, const std::vector<std::string>& names) {
  std::vector<E> values;
  for (const std::string& name : names) values.push_back(parse_enum<E>(option, name));
  return values;
}

// Lists whose entries are columns, lengths or kinds have each once; 0.1 and 0.10 are one budget.
void refuse_repeats(const EvalArgs& args) {
  const auto check = [](std::string_view option, const auto& entries, const auto& key) {
    for (auto entry = entries.begin(); entry != entries.end(); ++entry) {
      const auto is_same = [&](const auto& other) { return key(other) == key(*entry); };
      if (std::none_of(entries.begin(), entry, is_same)) continue;
      fail(ErrorCode::kInvalidArgument, "{} has {} twice; name each entry once", option, *entry);
    }
  };
  const auto itself = [](const auto& entry) { return entry; };
  check("--policy", args.policies, itself);
  check("--kv-budget", args.budgets, [](const std::string& text) { return budget_json(text); });
  check("--prefill", args.prefills, itself);
  check("--ctx", args.eval.ctx, itself);
  check("--needles", args.needles, itself);
  check("--values", args.values, itself);
  check("--depths", args.eval.depths, itself);
  check("--tasks", args.eval.tasks, itself);
}

EvalOptions to_options(const EvalArgs& args, const EvalTask& task, const Engine& engine) {
  EvalOptions options = args.eval;
  if (!args.budgets.empty()) {
    options.budgets = args.budgets;
  } else if (task.searches_budget) {
    options.budgets.assign(std::begin(kSearchedBudgets), std::end(kSearchedBudgets));
  }
  // --kv-budget-min asks whether there is a fraction.
  SelectionArgs selection = args.selection;
  for (const std::string& text : options.budgets) {
    const KvBudget budget = KvBudget::parse(text);
    if (budget.fraction) selection.settings.budget.fraction = budget.fraction;
  }
  options.selection = to_settings(selection);
  options.kv_type = kv_type_or_default(args.kv_type, engine.precision());
  options.data.assign(args.data.begin(), args.data.end());
  if (!task.has_policies) options.audit_every = 0;
  options.prefills = parse_list<PrefillKind>("--prefill", args.prefills);
  if (!args.needles.empty()) options.needles = parse_list<NeedleKind>("--needles", args.needles);
  if (!args.values.empty()) options.values = parse_list<NeedleValue>("--values", args.values);
  options.policies.clear();
  for (const std::string& name : args.policies) {
    const PolicyEntry& named = policy_named(name);
    const PolicyEntry& runs = policy_or_substitute(args.engine, named, engine);
    const bool is_there = std::ranges::find(args.policies, runs.name) != args.policies.end();
    if (&runs == &named || !is_there) options.policies.push_back(&runs);
  }
  if (options.policies.empty()) {
    options.policies.push_back(&full_policy());
    const PolicyEntry& best = default_policy(engine.adapters());
    if (best.selects()) options.policies.push_back(&best);
  }
  return options;
}

void note_unread_options(const EvalArgs& args, const EvalTask& task) {
  for (const std::string& option : args.given) {
    const bool is_read = option == "--prefill"                         ? task.reads_prompts
                         : option == "--policy" || option == "--audit" ? task.has_policies
                                                                       : task.reads(option);
    if (!is_read) say(fmt::format("note: {} has no effect on {}", option, task.name));
  }
}

// The numbers are there; what draws them may not be.
void draw(const std::string& folder, const CancelToken& cancel) {
  std::fflush(stdout);
  const auto page = draw_report(folder, cancel);
  say(page ? fmt::format("report: {}", page->string())
           : fmt::format("note: no report is drawn; with python3-matplotlib, this draws it: {}",
                         report_command(folder)));
}

void run(const EvalArgs& args) {
  const EvalTask& task = eval_task_named(args.task);
  refuse_repeats(args);
  check_output_folder("--out", args.out);
  const CancelToken& cancel = interrupt_token();
  Engine engine = open_engine(args.engine);
  std::vector<const PolicyEntry*> named;
  for (const std::string& name : args.policies) named.push_back(&policy_named(name));
  // Without policies chunks are those that `chunk` makes of a text, or what takes its place.
  const PolicyEntry& chunk = policy_named("chunk");
  if (!task.has_policies) named = {&chunk};
  find_adapters_if_not_named(args.engine, named, engine);
  EvalOptions options = to_options(args, task, engine);
  if (!task.has_policies) options.policies = {&policy_for(chunk, engine.adapters())};
  note_unread_settings(args.selection, options.policies);
  note_unread_options(args, task);
  for (const std::string& budget : options.budgets) {
    note_small_budget(KvBudget::parse(budget), options.selection, options.policies,
                      engine.adapters());
  }
  std::optional<BudgetPlan> search;
  std::optional<EvalPlan> all;
  {
    const EndsAtOnce texts_are_made;
    if (task.searches_budget) {
      search = plan_budget(engine, task, options);
    } else {
      all = plan_eval(engine, task, options);
    }
  }
  EvalPlan& plan = search ? search->questions : *all;
  plan.command = command_line();
  for (const std::string& note : plan.work->notes()) say("note: " + note);
  for (const std::string& note : search ? search->notes : std::vector<std::string>()) {
    say("note: " + note);
  }
  for (const LeftOut& out : plan.left_out) {
    say(
        fmt::format("note: {} at {} tokens is left out: less than the least budget of {} tokens "
                    "(--kv-budget-min)",
                    out.column->name(), out.ctx, out.least_tokens));
  }
  for (const int64_t ctx : plan.lengths) {
    warn_of_positions("--ctx", ctx, engine.config().max_positions);
  }
  make_run_folder(args.out);
  load_weights(engine);

  EvalReport report;
  {
    ProgressBar bar(fmt::format("eval {}", task.name), "tokens");
    EvalCallbacks callbacks;
    callbacks.begin = [&](int64_t n_done, int64_t n_cells) {
      say(fmt::format("eval {}: {} {}{}", task.name, n_cells, n_cells == 1 ? "cell" : "cells",
                      n_done == 0 ? "" : fmt::format(", {} of them done before", n_done)));
    };
    callbacks.first_cell = [&](double seconds, int64_t n_left, double seconds_left) {
      bar.clear();
      say(fmt::format("the first cell took {}; about {} for the other {}", format_duration(seconds),
                      format_duration(seconds_left), n_left));
    };
    callbacks.progress = [&](int64_t n_done, int64_t n_total) { bar.update(n_done, n_total); };
    callbacks.message = [&](const std::string& line) {
      bar.clear();
      say(line);
    };
    if (search) {
      say(fmt::format("a search among at most {} cells", search->most_cells()));
      report = run_budget(engine, *search, args.out, callbacks, &cancel);
    } else {
      report = run_eval(engine, plan, args.out, callbacks, &cancel);
    }
  }
  if (args.json) {
    std::puts(
        report.json.dump(-1, ' ', false, nlohmann::ordered_json::error_handler_t::replace).c_str());
  } else {
    std::fputs(report.table.c_str(), stdout);
  }
  if (!args.no_report) draw(args.out, cancel);
}

// Remembers that the option was given.
void remember(CLI::App& app, EvalArgs& args, const std::string& name) {
  app.get_option(name)->each([&args, name](const std::string&) {
    if (std::ranges::find(args.given, name) == args.given.end()) args.given.push_back(name);
  });
}

}  // namespace

void add_eval_command(CLI::App& app) {
  auto args = std::make_shared<EvalArgs>();
  constexpr int64_t kMost = 1000000;
  CLI::App* command =
      app.add_subcommand("eval", "Measure what policies keep of a model, budget beside budget");
  command->add_option("TASK", args->task, "One of " + eval_task_help())->required()->type_name("");
  add_engine_options(*command, args->engine, true);
  add_words(*command, "--policy", args->policies,
            "A list of " + policy_help() + " (default: full, and chunk or fixed with adapters)")
      ->type_name("NAME,...");
  add_words(*command, "--kv-budget", args->budgets,
            "A list of budgets: tokens attended at a refresh, or with a point a fraction of those "
            "so far (default: 0.1; of budget those that are searched)")
      ->type_name("N|0.x,...");
  add_words(*command, "--prefill", args->prefills,
            "A list of ways to read prompts: chunk (selections), full (everything) "
            "(default: chunk)")
      ->type_name("HOW,...");
  constexpr Setting kLists[] = {Setting::kKvBudget, Setting::kPrefill, Setting::kTopKChunks};
  add_selection_options(*command, args->selection, kLists);
  add_kv_type_option(*command, args->kv_type);
  add_whole_numbers(*command, "--ctx", args->eval.ctx, 1, kMaxTokens,
                    "Tokens of texts and prompts, a list (default: 4096)");
  add_paths(*command, "--data", args->data,
            "What the task reads, files or folders (default: made-up text)")
      ->type_name("PATH...");
  command->add_option("--samples", args->eval.n_samples, "Texts of each length (default: 4)")
      ->transform(whole_number(1, kMost));
  command->add_option("--questions", args->eval.n_questions, "Questions about a text (default: 10)")
      ->transform(whole_number(1, kMost));
  add_words(*command, "--needles", args->needles,
            "A list of " + enum_list<NeedleKind>(", ", " and ") + " (default: all)")
      ->type_name("NAME,...");
  add_words(
      *command, "--values", args->values,
      "What needles hold, a list of " + enum_list<NeedleValue>(", ", " and ") + " (default: all)")
      ->type_name("NAME,...");
  add_whole_numbers(*command, "--depths", args->eval.depths, 0, 100,
                    "Where needles lie in the text, in percent, a list");
  add_words(*command, "--tasks", args->eval.tasks,
            "Which tasks, a list: of retrieval " + enum_list<RetrievalTask>(", ", " and ") +
                " (default: all), of leval and longbench their files' (default: leval: the closed "
                "ones of a folder, longbench: all)")
      ->type_name("NAME,...");
  command
      ->add_option("--pairs", args->eval.n_pairs,
                   "Pairs of the JSON object of retrieval, which then stands inside a text "
                   "(default: as many as the prompt holds)")
      ->transform(whole_number(1, kMost));
  command
      ->add_option("--prompts", args->eval.prompts,
                   "longbench: folder of dataset2prompt.json and dataset2maxlen.json (default: "
                   "beside the data)")
      ->type_name("DIR")
      ->check(not_empty("leave it out for the folder of the data"));
  command
      ->add_option("--keep", args->eval.keep,
                   "budget: the share of what full reaches that a budget must keep")
      ->transform(decimal_number(0.01, 1.0))
      ->capture_default_str();
  command
      ->add_option("--audit", args->eval.audit_every,
                   "At every N-th refresh, also compute the full attention of one layer in turn: "
                   "what share of it each column misses")
      ->transform(whole_number(1, kMost));
  command->add_option("-s,--seed", args->eval.seed, "Seed of all random choices")
      ->transform(whole_number(0, std::numeric_limits<int64_t>::max()))
      ->capture_default_str();
  command
      ->add_option("--out", args->out,
                   "Folder for cells.jsonl and results.json; one with cells of the same options is "
                   "gone on with")
      ->required()
      ->type_name("DIR")
      ->check(not_empty("name a folder"));
  command->add_flag("--json", args->json, "Print one JSON object");
  command->add_flag("--no-report", args->no_report,
                    "Do not draw pictures and report.html at the end (script/report does)");
  for (const char* name :
       {"--policy", "--prefill", "--ctx", "--data", "--samples", "--questions", "--needles",
        "--values", "--depths", "--tasks", "--pairs", "--prompts", "--keep", "--audit"}) {
    remember(*command, *args, name);
  }
  command->callback([args] { run(*args); });
}

}  // namespace chunkllm::cli
