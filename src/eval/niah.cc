#include "eval/niah.h"

#include <algorithm>

#include "base/error.h"
#include "data/corpus.h"
#include "data/haystack.h"
#include "data/ruler/needles.h"
#include "eval/reading.h"

namespace chunkllm {
namespace {

constexpr int64_t kDefaultSamples = 4;
constexpr int64_t kDefaultQuestions = 10;
constexpr int64_t kDefaultTokens = 4096;
constexpr int64_t kBytesPerToken = 5;
// Before a run so many samples are tried with no more text than this.
constexpr int64_t kCheckedSamples = 64;
constexpr int64_t kLeastTextBytes = 512;
// An answer may say more than its values.
constexpr int64_t kSpareAnswerTokens = 48;

class NiahWork : public EvalWork {
 public:
  NiahWork(const Engine& engine, const EvalOptions& options)
      : engine_(engine),
        options_(with_defaults(engine, options)),
        text_(read_joined_text(options_.data)),
        maker_(engine, text_.text) {
    require_memory_for(engine, options_.ctx, options_.kv_type);
    // What does not fit is said before anything runs; samples repeat what they ask for.
    const int64_t n_checked = std::min(options_.n_samples, kCheckedSamples);
    for (const int64_t ctx : options_.ctx) {
      haystack(ctx, 0, ctx * kBytesPerToken);
      for (int64_t i = 1; i < n_checked; ++i) haystack(ctx, i, kLeastTextBytes);
    }
  }

  std::vector<EvalUnit> units() const override {
    return units_of_lengths(options_.ctx, options_.n_samples);
  }

  nlohmann::ordered_json settings() const override {
    nlohmann::ordered_json kinds = nlohmann::ordered_json::array();
    for (const NeedleKind kind : options_.needles) kinds.push_back(enum_name(kind));
    nlohmann::ordered_json values = nlohmann::ordered_json::array();
    for (const NeedleValue value : options_.values) values.push_back(enum_name(value));
    return {{"--ctx", options_.ctx},
            {"--samples", options_.n_samples},
            {"--questions", options_.n_questions},
            {"--needles", kinds},
            {"--values", values},
            {"--depths", options_.depths},
            {"text", text_.fingerprint}};
  }

  void run(const EvalUnit& unit, std::span<const EvalColumn* const> columns, const CellDone& done,
           const Progress& progress, const CancelToken* cancel) override {
    const Haystack hay = haystack(unit.ctx, unit.sample, unit.ctx * kBytesPerToken);
    const std::vector<NeedlePlan> plans = plans_of(unit.sample);
    AskOptions ask;
    ask.kv_type = options_.kv_type;
    ask.audit_every = options_.audit_every;
    for (const TaskQuestion& question : hay.document.questions) {
      ask.answers.push_back(maker_.answer_options(answer_tokens(question)));
    }
    ask_columns(
        engine_, hay.prompts, columns, ask,
        [&](const EvalColumn& column, const ColumnAnswers& answers) {
          done(column, cell_of(hay, plans, answers));
        },
        progress, cancel);
  }

 private:
  static EvalOptions with_defaults(const Engine& engine, EvalOptions options) {
    if (options.n_samples == 0) options.n_samples = kDefaultSamples;
    if (options.n_questions == 0) options.n_questions = kDefaultQuestions;
    if (options.ctx.empty()) {
      options.ctx = {std::min(kDefaultTokens, engine.config().max_positions)};
    }
    return options;
  }

  std::vector<NeedlePlan> plans_of(int64_t sample) const {
    return plan_needles(options_.needles, options_.values, options_.depths, sample,
                        options_.n_questions);
  }

  // Of about `most_bytes` of text, or as many as fit.
  Haystack haystack(int64_t ctx, int64_t sample, int64_t most_bytes) const {
    Rng rng(sample_seed(options_.seed, ctx, sample));
    const std::vector<NeedlePlan> plans = plans_of(sample);
    return maker_.fit(rng, ctx, most_bytes, [&](Rng& draw, int64_t n_bytes) {
      const std::string text = maker_.passage(draw, n_bytes);
      return hide_needle_plans(draw, whole_sentences(text, n_bytes), plans);
    });
  }

  int64_t answer_tokens(const TaskQuestion& question) const {
    int64_t n = kSpareAnswerTokens;
    for (const std::string& value : question.expected) {
      n += 2 * std::ssize(engine_.tokenizer().encode(value));
    }
    return n;
  }

  static CellResult cell_of(const Haystack& haystack, const std::vector<NeedlePlan>& plans,
                            const ColumnAnswers& answers) {
    CellResult result = answers.cell();
    nlohmann::ordered_json list = nlohmann::ordered_json::array();
    for (size_t i = 0; i < plans.size(); ++i) {
      const TaskQuestion& question = haystack.document.questions[i];
      const NeedlePlan& plan = plans[i];
      const double score = answer_score(answers.answers[i], question.expected);
      const Measure one{score, 1};
      result.measures[kScore] += one;
      result.measures[std::string(enum_name(plan.kind))] += one;
      result.measures[std::string(enum_name(plan.value))] += one;
      if (plan.has_depth()) {
        result.measures[fmt::format("depth {}%", plan.depth_percent)] += one;
      }
      nlohmann::ordered_json entry;
      entry["needle"] = enum_name(plan.kind);
      entry["values"] = enum_name(plan.value);
      entry["depth"] = plan.has_depth() ? nlohmann::ordered_json(plan.depth_percent) : nullptr;
      entry["score"] = score;
      entry["question"] = question.question;
      entry["expected"] = question.expected;
      entry["answer"] = answers.answers[i];
      list.push_back(std::move(entry));
    }
    result.details["answers"] = std::move(list);
    return result;
  }

  const Engine& engine_;
  EvalOptions options_;
  JoinedText text_;
  HaystackMaker maker_;
};

}  // namespace

std::unique_ptr<EvalWork> prepare_niah(const Engine& engine, const EvalOptions& options) {
  return std::make_unique<NiahWork>(engine, options);
}

}  // namespace chunkllm
