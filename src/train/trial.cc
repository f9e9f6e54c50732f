#include "train/trial.h"

#include <algorithm>
#include <cmath>
#include <nlohmann/json.hpp>

#include "base/error.h"
#include "base/timer.h"
#include "data/task_blocks.h"

namespace chunkllm {
namespace {

constexpr int64_t kLeastJsonQuestions = 2;  // a haystack
// A key and a value, UUIDs of some 25 tokens each, may both be in an answer.
constexpr int64_t kJsonAnswerTokens = 112;

// Draws the haystacks of a trial, each of which fills a prompt.
class TrialHaystacks {
 public:
  TrialHaystacks(const Engine& engine, const TrialOptions& options)
      : options_(options), maker_(engine, options.text) {
    for (const TaskKind kind : options.tasks) {
      if (kind != TaskKind::kJson) sentence_kinds_.push_back(kind);
    }
  }

  const HaystackMaker& maker() const { return maker_; }
  bool has_text() const { return !sentence_kinds_.empty(); }
  bool has_json() const { return sentence_kinds_.size() < options_.tasks.size(); }

  // About one haystack.
  int64_t n_json_questions() const { return std::max(kLeastJsonQuestions, options_.n_questions); }
  int64_t n_questions() const {
    return std::ssize(sentence_kinds_) * options_.n_questions +
           (has_json() ? n_json_questions() : 0);
  }

  Haystack text_haystack(Rng& rng, int64_t ctx) const {
    return maker_.fit(rng, ctx, ctx * 5, [&](Rng& draw, int64_t n_bytes) {
      std::vector<Task> tasks;
      TakenNames taken;
      for (const TaskKind kind : sentence_kinds_) {
        for (int64_t i = 0; i < options_.n_questions; ++i) {
          tasks.push_back(make_task(draw, kind, options_.forms, taken));
        }
      }
      return hide_tasks(draw, maker_.passage(draw, n_bytes), tasks);
    });
  }

  Haystack json_haystack(Rng& rng, int64_t ctx) const {
    if (options_.n_pairs > 0) {
      return maker_.fit(rng, ctx, ctx * 5, [&](Rng& draw, int64_t n_bytes) {
        TaskDocument document =
            make_json(draw, options_.forms, options_.n_pairs, n_json_questions());
        const int64_t before = draw.below(n_bytes + 1);
        document.text = maker_.passage(draw, before) + "\n\n" + document.text + "\n" +
                        maker_.passage(draw, n_bytes - before);
        return document;
      });
    }
    constexpr int64_t kPairBytes = 83;
    return maker_.fit(rng, ctx, ctx * 3, [&](Rng& draw, int64_t n_bytes) {
      return make_json(draw, options_.forms,
                       std::max<int64_t>(n_bytes / kPairBytes, n_json_questions()),
                       n_json_questions());
    });
  }

 private:
  const TrialOptions& options_;
  HaystackMaker maker_;
  std::vector<TaskKind> sentence_kinds_;
};

void check_options(const TrialOptions& options) {
  if (options.columns.empty() || options.tasks.empty() || options.n_haystacks < 1 ||
      options.n_questions < 1) {
    fail(ErrorCode::kInvalidArgument, "a trial needs policies, tasks, haystacks and questions");
  }
  for (const TaskKind kind : options.tasks) {
    if (std::ranges::find(kTrialTasks, kind) == std::end(kTrialTasks)) {
      fail(ErrorCode::kInvalidArgument, "a trial has no task '{}'", enum_name(kind));
    }
  }
}

class Trial {
 public:
  Trial(const Engine& engine, const TrialOptions& options, const TrialCallbacks& callbacks,
        const CancelToken* cancel)
      : engine_(engine),
        options_(options),
        callbacks_(callbacks),
        cancel_(cancel),
        haystacks_(engine, options) {
    n_questions_ = std::ssize(options.columns) * std::ssize(options.ctx) * options.n_haystacks *
                   haystacks_.n_questions();
  }

  TrialReport run() {
    const Timer timer;
    for (const TrialColumn& column : options_.columns) report_.columns.push_back(column.name);
    for (const int64_t ctx : options_.ctx) run_length(ctx);
    report_.seconds = timer.seconds();
    return std::move(report_);
  }

 private:
  void run_length(int64_t ctx) {
    ctx_ = ctx;
    const size_t n_columns = options_.columns.size();
    first_row_ = report_.rows.size();
    for (const TaskKind kind : options_.tasks) {
      const std::vector<double> none(static_cast<size_t>(options_.n_haystacks), 0.0);
      report_.rows.push_back({ctx, kind, std::vector<std::vector<double>>(n_columns, none)});
    }
    report_.costs.emplace_back(n_columns);
    Rng seeds(options_.seed);
    const Timer timer;
    for (haystack_ = 0; haystack_ < options_.n_haystacks; ++haystack_) {
      if (haystack_ > 0 && options_.seconds > 0 && timer.seconds() > options_.seconds) break;
      Rng rng(seeds.next());
      if (haystacks_.has_text()) ask_all(haystacks_.text_haystack(rng, ctx));
      if (haystacks_.has_json()) ask_all(haystacks_.json_haystack(rng, ctx));
    }
    for (size_t row = first_row_; row < report_.rows.size(); ++row) {
      for (auto& scores : report_.rows[row].scores) scores.resize(static_cast<size_t>(haystack_));
    }
  }

  void ask_all(const Haystack& haystack) {
    for (size_t column = 0; column < options_.columns.size(); ++column) ask(haystack, column);
  }

  void ask(const Haystack& haystack, size_t column) {
    SessionOptions session_options;
    session_options.policy = options_.columns[column].policy;
    session_options.selection = options_.columns[column].selection;
    session_options.ctx = haystack.longest + std::max(options_.answer_tokens, kJsonAnswerTokens);
    session_options.kv_type = options_.kv_type.value_or(
        engine_.precision().products == ProductType::kBf16 ? KvType::kBf16 : KvType::kF32);
    Session session(engine_, session_options);
    TrialCost& cost = report_.costs.back()[column];
    cost.ctx = ctx_;
    cost.n_prompt_tokens = std::max(cost.n_prompt_tokens, haystack.longest);
    for (size_t i = 0; i < haystack.prompts.size(); ++i) {
      const bool is_json = haystack.document.questions[i].kind == TaskKind::kJson;
      const int64_t max_tokens =
          is_json ? std::max(options_.answer_tokens, kJsonAnswerTokens) : options_.answer_tokens;
      const GenerateResult result =
          generate(session, engine_.tokenizer(), haystack.prompts[i],
                   haystacks_.maker().answer_options(max_tokens), {}, {}, cancel_);
      cost.add(result);
      add_score(haystack.document.questions, i, column, result.text);
    }
  }

  void add_score(const std::vector<TaskQuestion>& questions, size_t index, size_t column,
                 const std::string& answer) {
    const TaskQuestion& question = questions[index];
    const double score = answer_score(answer, question.expected);
    // Of several questions of one kind about a haystack the mean counts.
    const auto n = std::ranges::count(questions, question.kind, &TaskQuestion::kind);
    for (size_t row = first_row_; row < report_.rows.size(); ++row) {
      if (report_.rows[row].kind != question.kind) continue;
      report_.rows[row].scores[column][static_cast<size_t>(haystack_)] +=
          score / static_cast<double>(n);
    }
    if (callbacks_.answer) {
      callbacks_.answer({ctx_, haystack_, options_.columns[column].name, &question, answer, score});
    }
    ++n_done_;
    if (callbacks_.progress) callbacks_.progress(n_done_, n_questions_);
  }

  const Engine& engine_;
  const TrialOptions& options_;
  const TrialCallbacks& callbacks_;
  const CancelToken* cancel_;
  TrialHaystacks haystacks_;
  TrialReport report_;
  int64_t ctx_ = 0;
  int64_t haystack_ = 0;
  size_t first_row_ = 0;  // of this length
  int64_t n_done_ = 0;
  int64_t n_questions_ = 0;
};

double sum(const std::vector<double>& values) {
  double total = 0;
  for (const double value : values) total += value;
  return total;
}

}  // namespace

double TrialRow::mean_score(size_t column) const {
  const std::vector<double>& all = scores[column];
  return all.empty() ? 0.0 : sum(all) / static_cast<double>(all.size());
}

std::optional<TrialRatio> TrialReport::ratio(size_t length, size_t column) const {
  // By haystack, sums over tasks.
  std::vector<double> own;
  std::vector<double> first;
  for (const TrialRow& row : rows) {
    if (row.ctx != costs[length].front().ctx) continue;
    own.resize(row.scores[column].size(), 0.0);
    first.resize(own.size(), 0.0);
    for (size_t h = 0; h < own.size(); ++h) {
      own[h] += row.scores[column][h];
      first[h] += row.scores.front()[h];
    }
  }
  const auto divide = [](double a, double b) { return b > 0 ? a / b : 0.0; };
  const double own_sum = sum(own);
  const double first_sum = sum(first);
  if (!(first_sum > 0)) return std::nullopt;
  TrialRatio ratio{own_sum / first_sum, 0.0};
  const auto n = static_cast<double>(own.size());
  if (own.size() < 2) return ratio;
  double squares = 0;
  for (size_t h = 0; h < own.size(); ++h) {
    const double without = divide(own_sum - own[h], first_sum - first[h]);
    squares += (without - ratio.value) * (without - ratio.value);
  }
  ratio.error = std::sqrt(squares * (n - 1) / n);
  return ratio;
}

TrialReport run_trial(const Engine& engine, const TrialOptions& options,
                      const TrialCallbacks& callbacks, const CancelToken* cancel) {
  check_options(options);
  return Trial(engine, options, callbacks, cancel).run();
}

std::optional<TrialOptions> default_trial(const ModelConfig& config, const PolicyEntry& policy) {
  constexpr int64_t kTokens = 4096;
  constexpr int64_t kLeastTokens = 1024;
  TrialOptions options;
  const int64_t ctx = std::min(kTokens, config.max_positions - kJsonAnswerTokens);
  if (ctx < kLeastTokens) return std::nullopt;
  options.ctx = {ctx};
  options.n_haystacks = 4;
  options.seconds = 30;
  options.n_pairs = 16;
  TrialColumn selects{fmt::format("{}, 10%", policy.name), &policy, {}};
  selects.selection.budget.fraction = 0.1;
  options.columns = {{"full"}, std::move(selects)};
  return options;
}

std::string trial_table(const TrialReport& report) {
  std::string table = "| context | task |";
  std::string line = "|---|---|";
  for (const std::string& column : report.columns) {
    table += " " + column + " |";
    line += "---|";
  }
  table += "\n" + line + "\n";
  const size_t n_columns = report.columns.size();
  for (size_t length = 0; length < report.costs.size(); ++length) {
    const std::vector<TrialCost>& costs = report.costs[length];
    const auto add = [&](std::string_view name, const auto& cell) {
      table += fmt::format("| {} | {} |", costs.front().ctx, name);
      for (size_t column = 0; column < n_columns; ++column) table += " " + cell(column) + " |";
      table += "\n";
    };
    for (const TrialRow& row : report.rows) {
      if (row.ctx != costs.front().ctx) continue;
      add(enum_name(row.kind),
          [&](size_t column) { return fmt::format("{:.2f}", row.mean_score(column)); });
    }
    add("share of " + report.columns.front(), [&](size_t column) {
      const std::optional<TrialRatio> ratio = report.ratio(length, column);
      if (!ratio) return std::string("-");
      return ratio->error > 0 ? fmt::format("{:.3f} ± {:.3f}", ratio->value, ratio->error)
                              : fmt::format("{:.3f}", ratio->value);
    });
    add("KV retention", [&](size_t column) {
      return fmt::format("{:.1f}%", 100 * costs[column].decode.kv_retention());
    });
    add("prefill retention", [&](size_t column) {
      return fmt::format("{:.1f}%", 100 * costs[column].prefill.retention());
    });
    add("seconds, prompts and answers", [&](size_t column) {
      return fmt::format("{:.1f} + {:.1f}", costs[column].prefill_seconds,
                         costs[column].decode_seconds);
    });
  }
  return table;
}

nlohmann::ordered_json trial_json(const TrialReport& report) {
  nlohmann::ordered_json json;
  json["columns"] = report.columns;
  json["seconds"] = report.seconds;
  for (const TrialRow& row : report.rows) {
    nlohmann::ordered_json entry;
    entry["ctx"] = row.ctx;
    entry["task"] = enum_name(row.kind);
    for (size_t column = 0; column < report.columns.size(); ++column) {
      entry["score"].push_back(row.mean_score(column));
    }
    entry["scores_by_haystack"] = row.scores;
    json["tasks"].push_back(std::move(entry));
  }
  for (size_t length = 0; length < report.costs.size(); ++length) {
    for (size_t column = 0; column < report.columns.size(); ++column) {
      const TrialCost& cost = report.costs[length][column];
      const std::optional<TrialRatio> ratio = report.ratio(length, column);
      nlohmann::ordered_json entry;
      entry["ctx"] = cost.ctx;
      entry["column"] = report.columns[column];
      entry["prompt_tokens"] = cost.n_prompt_tokens;
      entry["share"] = ratio ? nlohmann::ordered_json(ratio->value) : nullptr;
      entry["share_error"] = ratio ? nlohmann::ordered_json(ratio->error) : nullptr;
      entry["kv_retention"] = cost.decode.kv_retention();
      entry["prefill_retention"] = cost.prefill.retention();
      entry["prefilled_tokens"] = cost.n_prefilled;
      entry["prefill_seconds"] = cost.prefill_seconds;
      entry["decoded_tokens"] = cost.n_decoded;
      entry["decode_seconds"] = cost.decode_seconds;
      json["lengths"].push_back(std::move(entry));
    }
  }
  return json;
}

}  // namespace chunkllm
