#include "eval/budget.h"

#include <algorithm>
#include <cmath>
#include <set>
#include <utility>

#include "base/error.h"
#include "eval/budget_found.h"
#include "eval/reading.h"

namespace chunkllm {
namespace {

using Json = nlohmann::ordered_json;

constexpr const char* kTextsFolder = "ppl";

double tokens_of(const EvalColumn& column, int64_t ctx) {
  const KvBudget& budget = column.selection.budget;
  return budget.fraction ? *budget.fraction * static_cast<double>(ctx)
                         : static_cast<double>(budget.n_tokens);
}

bool is_searched(const EvalColumn& column) { return column.policy->reads(Setting::kKvBudget); }

std::vector<BudgetLine> lines_at(const EvalPlan& plan, int64_t ctx) {
  std::vector<BudgetLine> lines;
  for (const EvalColumn& column : plan.columns) {
    if (!is_searched(column) || !plan.has_cell(column, ctx)) continue;
    const auto line = std::ranges::find_if(lines, [&](const BudgetLine& other) {
      return other[0]->policy == column.policy && other[0]->prefill == column.prefill;
    });
    if (line != lines.end()) {
      line->push_back(&column);
    } else {
      lines.push_back({&column});
    }
  }
  for (BudgetLine& line : lines) {
    std::ranges::stable_sort(line, [&](const EvalColumn* a, const EvalColumn* b) {
      return tokens_of(*a, ctx) > tokens_of(*b, ctx);
    });
  }
  return lines;
}

// One of the two evaluations that a search is made of: runs the columns that are asked for.
class Part {
 public:
  Part(const Engine& engine, EvalPlan& plan, std::filesystem::path folder,
       const EvalCallbacks& callbacks, const CancelToken* cancel)
      : engine_(engine),
        plan_(plan),
        folder_(std::move(folder)),
        callbacks_(callbacks),
        cancel_(cancel) {}

  const EvalColumn* full() const {
    const auto found = std::ranges::find_if(
        plan_.columns, [](const EvalColumn& column) { return !column.policy->selects(); });
    return found != plan_.columns.end() ? &*found : nullptr;
  }
  // That of the same policy and budget; null if there is none at this length.
  const EvalColumn* like(const EvalColumn& other, int64_t ctx) const {
    if (std::ranges::find(plan_.lengths, ctx) == plan_.lengths.end()) return nullptr;
    const auto found = std::ranges::find_if(plan_.columns, [&](const EvalColumn& column) {
      return column.policy == other.policy && column.kv_budget == other.kv_budget;
    });
    return found != plan_.columns.end() && plan_.has_cell(*found, ctx) ? &*found : nullptr;
  }

  void run(std::span<const EvalColumn* const> columns, int64_t ctx) {
    std::set<const EvalColumn*> left;
    for (const EvalColumn* column : columns) {
      if (done_.insert({column, ctx}).second) left.insert(column);
    }
    if (left.empty()) return;
    if (callbacks_.message) callbacks_.message(what_runs(left, ctx));
    plan_.wanted = [left, ctx](const EvalColumn& column, int64_t at) {
      return at == ctx && left.contains(&column);
    };
    make_run_folder(folder_);
    report_ = run_eval(engine_, plan_, folder_, callbacks_, cancel_);
    plan_.wanted = {};
  }
  bool has_run(const EvalColumn& column, int64_t ctx) const {
    return done_.contains({&column, ctx});
  }

  // Of a column that ran.
  const EvalRow& row(const EvalColumn& column, int64_t ctx) const {
    const auto found = std::ranges::find_if(
        report_.rows, [&](const EvalRow& row) { return row.column == &column && row.ctx == ctx; });
    if (found == report_.rows.end()) {
      fail(ErrorCode::kData, "{} holds no cells of {} at {} tokens", folder_.string(),
           column.name(), ctx);
    }
    return *found;
  }

  EvalReport take_report() { return std::move(report_); }

 private:
  std::string what_runs(const std::set<const EvalColumn*>& columns, int64_t ctx) const {
    std::string names;
    for (const EvalColumn& column : plan_.columns) {
      if (columns.contains(&column)) names += (names.empty() ? "" : "; ") + column.name();
    }
    return fmt::format("{} at {} tokens: {}", plan_.task->name, ctx, names);
  }

  const Engine& engine_;
  EvalPlan& plan_;
  std::filesystem::path folder_;
  const EvalCallbacks& callbacks_;
  const CancelToken* cancel_;
  std::set<std::pair<const EvalColumn*, int64_t>> done_;
  EvalReport report_;
};

class Search {
 public:
  Search(const Engine& engine, BudgetPlan& plan, const std::filesystem::path& folder,
         const EvalCallbacks& callbacks, const CancelToken* cancel)
      : engine_(engine),
        keep_(plan.questions.options.keep),
        questions_(engine, plan.questions, folder, callbacks, cancel) {
    if (plan.texts) texts_.emplace(engine, *plan.texts, folder / kTextsFolder, callbacks, cancel);
  }

  FoundBudget search(const BudgetLine& line, int64_t ctx) {
    FoundBudget found{.ctx = ctx, .line = line};
    const EvalColumn& full = *questions_.full();
    bool can_compare = true;
    const auto best = last_that_keeps(std::ssize(line), [&](int64_t i, Range open) {
      if (!can_compare) return false;
      questions_.run(columns_to_run(line, i, open, ctx), ctx);
      TriedBudget tried{.column = line[static_cast<size_t>(i)]};
      tried.row = questions_.row(*tried.column, ctx);
      reading_is_most_ = tried.row.speed.prefill_seconds > tried.row.speed.decode_seconds;
      can_compare = tried.row.ratio.has_value();
      tried.keeps = keeps_score(tried.row);
      if (tried.keeps) compare_texts(tried, ctx);
      found.tried.push_back(tried);
      return tried.keeps;
    });
    found.full = questions_.row(full, ctx);
    add_in_passing(found);
    if (!can_compare) {
      found.notes.emplace_back("full attention itself scores nothing there");
    } else if (!best) {
      found.notes.push_back("the largest budget keeps too little, " +
                            show_tried(found.tried_of(line[0])));
    } else {
      found.best = line[static_cast<size_t>(*best)];
      if (*best + 1 < std::ssize(line)) {
        found.next = line[static_cast<size_t>(*best + 1)];
      } else {
        found.notes.emplace_back("the smallest budget that was tried; smaller ones may do");
      }
    }
    if (can_compare) add_doubts(found);
    return found;
  }

  EvalReport take_report() { return questions_.take_report(); }

 private:
  static constexpr double kRounding = 1e-9;
  static constexpr double kLeastScore = 0.3;    // below it questions are too hard
  static constexpr double kLeastError = 0.015;  // that is said, of a ratio

  bool keeps_score(const EvalRow& row) const {
    return row.ratio && row.ratio->value >= keep_ - kRounding;
  }

  // Says where the numbers are too few to tell.
  void add_doubts(FoundBudget& found) const {
    const EvalRow& full = found.full;
    if (full.score.value < kLeastScore) {
      found.notes.push_back(fmt::format(
          "full attention itself scores {:.3f}, too little to see what is lost; give easier "
          "--needles or --values",
          full.score.value));
    }
    double error = 0;  // where it decides
    for (const EvalColumn* column : {found.best, found.next}) {
      const TriedBudget* tried = found.tried_of(column);
      if (tried == nullptr) continue;
      if (full.n_samples > 1 && std::isnan(tried->row.ratio->error)) {
        found.notes.emplace_back(
            "there is no error: without one of the samples full attention scores nothing; give "
            "more --samples or --questions");
        return;
      }
      error = std::max(error, tried->row.ratio->error);
    }
    const double most = std::max(1 - keep_, kLeastError);
    if (full.n_samples > 1 && error <= most) return;
    found.notes.push_back(
        full.n_samples == 1
            ? "one sample has no error; more --samples have"
            : fmt::format("errors are up to {:.1f}%, more than the {:.1f}% that matter; give more "
                          "--samples or --questions",
                          100 * error, 100 * most));
  }

  // The column that is asked about and full attention; once reading is known to take longer than
  // answering, with those that may be asked about next and read prompts alike.
  std::vector<const EvalColumn*> columns_to_run(const BudgetLine& line, int64_t i, Range open,
                                                int64_t ctx) const {
    const EvalColumn* asked = line[static_cast<size_t>(i)];
    std::vector<const EvalColumn*> columns{questions_.full(), asked};
    if (!reading_is_most_) return columns;
    for (int64_t other = open.begin; other < open.end; ++other) {
      const EvalColumn* column = line[static_cast<size_t>(other)];
      if (column != asked && reads_for(*asked, *column, engine_.adapters(), ctx)) {
        columns.push_back(column);
      }
    }
    return columns;
  }

  // Whether perplexity allows what the score does.
  void compare_texts(TriedBudget& tried, int64_t ctx) {
    const EvalColumn* column = texts_ ? texts_->like(*tried.column, ctx) : nullptr;
    if (column == nullptr) return;
    const std::vector<const EvalColumn*> both{texts_->full(), column};
    texts_->run(both, ctx);
    tried.text = texts_->row(*column, ctx);
    if (tried.text->ratio) tried.keeps = tried.text->ratio->value <= 1 / keep_ + kRounding;
  }

  // Budgets that ran because they share a reading, though nobody asked about them; all in order.
  void add_in_passing(FoundBudget& found) const {
    std::vector<TriedBudget> all;
    for (const EvalColumn* column : found.line) {
      if (const TriedBudget* asked = found.tried_of(column)) {
        all.push_back(*asked);
      } else if (questions_.has_run(*column, found.ctx)) {
        TriedBudget tried{.column = column, .row = questions_.row(*column, found.ctx)};
        tried.keeps = keeps_score(tried.row);
        all.push_back(std::move(tried));
      }
    }
    found.tried = std::move(all);
  }

  const Engine& engine_;
  double keep_;
  bool reading_is_most_ = false;
  Part questions_;
  std::optional<Part> texts_;
};

}  // namespace

std::optional<int64_t> last_that_keeps(
    int64_t n, const std::function<bool(int64_t budget, Range open)>& keeps) {
  int64_t last = -1;  // keeps: everything is full attention
  int64_t first = n;  // does not
  while (first - last > 1) {
    const int64_t middle = last + (first - last) / 2;
    if (keeps(middle, {last + 1, first})) {
      last = middle;
    } else {
      first = middle;
    }
  }
  return last >= 0 ? std::optional(last) : std::nullopt;
}

int64_t BudgetPlan::most_cells() const {
  return questions.n_cells() + (texts ? texts->n_cells() : 0);
}

BudgetPlan plan_budget(const Engine& engine, const EvalTask& task, const EvalOptions& options) {
  EvalOptions with_full = options;
  std::erase(with_full.policies, &full_policy());
  for (const PolicyEntry* policy : with_full.policies) {
    if (policy->reads(Setting::kKvBudget)) continue;
    fail(ErrorCode::kInvalidArgument, "{} searches among budgets, and policy {} has none",
         task.name, policy->name);
  }
  if (with_full.policies.empty()) {
    fail(ErrorCode::kInvalidArgument,
         "{} needs a policy whose budget is searched, beside full; give --adapter, or --policy",
         task.name);
  }
  with_full.policies.insert(with_full.policies.begin(), &full_policy());
  BudgetPlan plan{.questions = plan_eval(engine, task, with_full)};
  if (options.data.empty()) return plan;
  with_full.ctx = plan.questions.lengths;
  try {
    plan.texts = plan_eval(engine, eval_task_named("ppl"), with_full);
  } catch (const Error& error) {  // questions need no long texts
    if (error.code() != ErrorCode::kData) throw;
    plan.notes.push_back(fmt::format("perplexity has no say: {}", error.what()));
  }
  return plan;
}

EvalReport run_budget(const Engine& engine, BudgetPlan& plan, const std::filesystem::path& folder,
                      const EvalCallbacks& callbacks, const CancelToken* cancel) {
  plan.questions.wanted = {};
  if (plan.texts) plan.texts->wanted = {};
  Search search(engine, plan, folder, callbacks, cancel);
  const double keep = plan.questions.options.keep;
  std::vector<FoundBudget> founds;
  for (const int64_t ctx : plan.questions.lengths) {
    for (const BudgetLine& line : lines_at(plan.questions, ctx)) {
      founds.push_back(search.search(line, ctx));
    }
  }
  EvalReport report = search.take_report();
  report.table = budget_table(founds, keep);
  Json budgets = Json::array();
  for (const FoundBudget& found : founds) budgets.push_back(found.to_json(keep));
  report.json["budgets"] = std::move(budgets);
  write_results(report, folder);
  return report;
}

}  // namespace chunkllm
