#include "eval/retrieval.h"

#include <algorithm>

#include "base/error.h"
#include "data/corpus.h"
#include "data/haystack.h"
#include "data/ruler/qa.h"
#include "data/ruler/ruler.h"
#include "eval/reading.h"
#include "eval/ruler.h"

namespace chunkllm {
namespace {

constexpr int64_t kDefaultSamples = 4;
constexpr int64_t kDefaultQuestions = 10;
constexpr int64_t kDefaultTokens = 4096;
constexpr int64_t kBytesPerToken = 6;    // at most, about: what is too long is shortened
constexpr int64_t kLeastPairTokens = 2;  // its key and its value
constexpr int64_t kVariableChains = 1;
constexpr int64_t kVariableHops = 4;

std::string_view source_name(RetrievalTask task) {
  return task == RetrievalTask::kQa1 ? "SQuAD" : "HotpotQA";
}

class RetrievalWork : public EvalWork {
 public:
  RetrievalWork(const Engine& engine, const EvalOptions& options)
      : engine_(engine), options_(options), prompts_(engine) {
    if (options_.n_samples == 0) options_.n_samples = kDefaultSamples;
    if (options_.n_pairs > 0 && options_.n_questions > options_.n_pairs) {
      fail(ErrorCode::kInvalidArgument,
           "--questions {} asks for more than the --pairs {}; give fewer questions or more pairs",
           options_.n_questions, options_.n_pairs);
    }
    if (options_.n_questions == 0) options_.n_questions = kDefaultQuestions;
    if (options_.ctx.empty()) {
      options_.ctx = {std::min(kDefaultTokens, engine.config().max_positions)};
    }
    require_memory_for(engine, options_.ctx, options_.kv_type);
    read_data();
    choose_tasks();
    check_pairs();
    maker_.emplace(engine, text_.text);
    // What does not fit is said before anything runs; pairs of one kind may fit where others do
    // not.
    for (const int64_t ctx : options_.ctx) {
      for (const RetrievalTask task : tasks_) {
        const bool has_pairs = task == RetrievalTask::kJson && options_.n_pairs > 0;
        const int64_t n = has_pairs ? std::min(options_.n_samples, std::ssize(options_.values)) : 1;
        for (int64_t sample = 0; sample < n; ++sample) sample_text(ctx, task, sample);
      }
    }
  }

  std::vector<EvalUnit> units() const override {
    std::vector<EvalUnit> units;
    for (const int64_t ctx : options_.ctx) {
      for (int64_t i = 0; i < options_.n_samples; ++i) {
        for (int64_t t = 0; t < std::ssize(tasks_); ++t) {
          units.push_back({ctx, t * options_.n_samples + i, ctx});
        }
      }
    }
    return units;
  }

  nlohmann::ordered_json settings() const override {
    nlohmann::ordered_json tasks = nlohmann::ordered_json::array();
    for (const RetrievalTask task : tasks_) tasks.push_back(enum_name(task));
    nlohmann::ordered_json values = nlohmann::ordered_json::array();
    for (const NeedleValue value : options_.values) values.push_back(enum_name(value));
    nlohmann::ordered_json json = {{"--ctx", options_.ctx},
                                   {"--samples", options_.n_samples},
                                   {"--questions", options_.n_questions},
                                   {"--tasks", tasks},
                                   {"--pairs", options_.n_pairs},
                                   {"--values", values},
                                   {"text", text_.fingerprint}};
    for (const QaSet& set : qa_sets_) json[std::string(source_name(set.task))] = set.digest;
    return json;
  }

  std::vector<std::string> notes() const override { return notes_; }

  void run(const EvalUnit& unit, std::span<const EvalColumn* const> columns, const CellDone& done,
           const Progress& progress, const CancelToken* cancel) override {
    const RetrievalTask task = tasks_[static_cast<size_t>(unit.sample / options_.n_samples)];
    const int64_t sample = unit.sample % options_.n_samples;
    const RulerText text = sample_text(unit.ctx, task, sample);
    // Kinds of values are told apart where a task has them all.
    const std::string_view kind =
        task == RetrievalTask::kJson ? enum_name(values_of(sample)) : std::string_view();
    AskOptions ask;
    ask.kv_type = options_.kv_type;
    ask.audit_every = options_.audit_every;
    ask.answers.assign(text.questions.size(), answer_options(task));
    const std::vector<Prompt> prompts = prompts_of(text);
    ask_columns(
        engine_, prompts, columns, ask,
        [&](const EvalColumn& column, const ColumnAnswers& answers) {
          CellResult result = cell_of_retrieval(enum_name(task), text.questions, answers);
          if (!kind.empty()) {
            result.measures[std::string(kind)] = result.measures.at(std::string(enum_name(task)));
          }
          done(column, result);
        },
        progress, cancel);
  }

 private:
  // Files of questions are .json, all others text for essays.
  void read_data() {
    std::vector<std::filesystem::path> texts;
    for (const std::filesystem::path& path : options_.data) {
      if (path.extension() != ".json") {
        texts.push_back(path);
        continue;
      }
      QaSet set = read_qa_set(path);
      if (qa_set(set.task) != nullptr) {
        fail(ErrorCode::kInvalidArgument, "{} is a second file of {}; give one", path.string(),
             source_name(set.task));
      }
      qa_sets_.push_back(std::move(set));
    }
    text_ = read_joined_text(texts);
  }

  const QaSet* qa_set(RetrievalTask task) const {
    const auto found = std::ranges::find(qa_sets_, task, &QaSet::task);
    return found != qa_sets_.end() ? &*found : nullptr;
  }

  void choose_tasks() {
    std::vector<RetrievalTask> asked;
    for (const auto& [task, name] : kEnumNames<RetrievalTask>) asked.push_back(task);
    if (!options_.tasks.empty()) asked.clear();
    for (const std::string& name : options_.tasks) {
      const auto task = parse_enum<RetrievalTask>("--tasks", name);
      if (std::ranges::find(asked, task) == asked.end()) asked.push_back(task);
    }
    for (const RetrievalTask task : asked) {
      const bool is_qa = task == RetrievalTask::kQa1 || task == RetrievalTask::kQa2;
      if (!is_qa || qa_set(task) != nullptr) {
        tasks_.push_back(task);
        continue;
      }
      notes_.push_back(fmt::format("{} is left out: --data names no file of {} (.json)",
                                   enum_name(task), source_name(task)));
    }
    if (tasks_.empty()) {
      fail(ErrorCode::kInvalidArgument, "no task is left: {}", notes_.front());
    }
  }

  // Pairs that cannot fit are refused before any are made.
  void check_pairs() const {
    if (std::ranges::find(tasks_, RetrievalTask::kJson) == tasks_.end()) return;
    const int64_t least_ctx = std::ranges::min(options_.ctx);
    const int64_t most =
        (least_ctx - answer_options(RetrievalTask::kJson).max_tokens) / kLeastPairTokens;
    if (options_.n_pairs <= std::max<int64_t>(most, 0)) return;
    fail(ErrorCode::kInvalidArgument,
         "--pairs {} cannot fit into {} tokens with the answer; give fewer, or a larger --ctx",
         options_.n_pairs, least_ctx);
  }

  NeedleValue values_of(int64_t sample) const {
    return options_.values[static_cast<size_t>(sample) % options_.values.size()];
  }

  GenerateOptions answer_options(RetrievalTask task) const {
    const int64_t n_tokens = retrieval_family(enum_name(task)).answer_tokens;
    GenerateOptions options = prompts_.answer_options(n_tokens);
    if (task != RetrievalTask::kJson) options.stops.clear();  // RULER knows none
    return options;
  }

  std::vector<Prompt> prompts_of(const RulerText& text) const {
    std::vector<Prompt> prompts;
    for (const RetrievalQuestion& question : text.questions) {
      prompts.push_back(prompts_.begun(text.text + question.question, question.answer_begin));
    }
    return prompts;
  }

  RulerText sample_text(int64_t ctx, RetrievalTask task, int64_t sample) const {
    // Seeded by all that it is of, so that no text depends on others.
    Rng of_length(options_.seed * 1000003 + static_cast<uint64_t>(ctx));
    Rng of_task(of_length.next() + static_cast<uint64_t>(task));
    Rng rng(of_task.next() + static_cast<uint64_t>(sample));
    const int64_t answer_tokens = answer_options(task).max_tokens;
    if (answer_tokens >= ctx) {
      fail(ErrorCode::kInvalidArgument,
           "--ctx {} leaves no room beside an answer of {} tokens; give a larger one", ctx,
           answer_tokens);
    }
    const int64_t most_tokens = ctx - answer_tokens;
    RulerText text;
    fit_to_tokens(rng, most_tokens, ctx * kBytesPerToken, [&](Rng& draw, int64_t n_bytes) {
      text = make_text_of_task(draw, ctx, task, sample, n_bytes);
      int64_t longest = 0;
      for (const Prompt& prompt : prompts_of(text)) longest = std::max(longest, prompt.n_tokens());
      return longest;
    });
    return text;
  }

  RulerText make_text_of_task(Rng& rng, int64_t ctx, RetrievalTask task, int64_t sample,
                              int64_t n_bytes) const {
    const auto passage = [&] {
      return std::string(whole_sentences(maker_->passage(rng, n_bytes), n_bytes));
    };
    switch (task) {
      case RetrievalTask::kJson: {
        const JsonPairs pairs{values_of(sample), options_.n_questions, options_.n_pairs};
        return make_json_text(rng, pairs, options_.n_pairs > 0 ? passage() : "", n_bytes);
      }
      case RetrievalTask::kVariables:
        return make_variable_text(rng, kVariableChains, kVariableHops, n_bytes);
      case RetrievalTask::kCommonWords:
        return make_common_words_text(rng, ctx, n_bytes);
      case RetrievalTask::kFrequentWords:
        return make_frequent_words_text(rng, ctx, n_bytes);
      case RetrievalTask::kNiahSingle1:
      case RetrievalTask::kNiahSingle2:
      case RetrievalTask::kNiahSingle3:
      case RetrievalTask::kNiahMultikey1:
      case RetrievalTask::kNiahMultikey2:
      case RetrievalTask::kNiahMultikey3:
      case RetrievalTask::kNiahMultivalue:
      case RetrievalTask::kNiahMultiquery:
        return make_needle_text(rng, task, hides_in_essay(task) ? passage() : "", n_bytes);
      case RetrievalTask::kQa1:
      case RetrievalTask::kQa2:
        return make_qa_text(rng, *qa_set(task), n_bytes);
    }
    return {};
  }

  const Engine& engine_;
  EvalOptions options_;
  PromptMaker prompts_;
  JoinedText text_;  // of essays; empty: made up
  std::vector<QaSet> qa_sets_;
  std::vector<RetrievalTask> tasks_;
  std::vector<std::string> notes_;
  std::optional<HaystackMaker> maker_;
};

}  // namespace

std::unique_ptr<EvalWork> prepare_retrieval(const Engine& engine, const EvalOptions& options) {
  return std::make_unique<RetrievalWork>(engine, options);
}

}  // namespace chunkllm
