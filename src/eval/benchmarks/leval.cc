#include "eval/benchmarks/leval.h"

#include <algorithm>

#include "base/error.h"
#include "base/sha256.h"
#include "data/prompt_maker.h"
#include "eval/benchmarks/answer_metrics.h"
#include "eval/benchmarks/leval_data.h"
#include "eval/benchmarks/python_text.h"
#include "eval/reading.h"

namespace chunkllm {
namespace {

constexpr const char* kF1 = "f1";
constexpr const char* kRougeL = "rouge-l";
// Where a document ends its last token may be another than before a blank or a question.
constexpr int64_t kSpareTokens = 8;

// A document's prompts in a context.
struct LevalPrompts {
  std::vector<Prompt> prompts;
  int64_t words_left_out = 0;
};

int64_t longest_of(const std::vector<Prompt>& prompts) {
  return std::ranges::max_element(prompts, {}, &Prompt::n_tokens)->n_tokens();
}

// The ends of words, which single blanks part, as L-Eval counts them; ascending byte offsets.
std::vector<size_t> word_ends(std::string_view text) {
  std::vector<size_t> ends;
  size_t end = 0;
  for (const std::string_view word : split_at(text, ' ')) {
    end += word.size();
    ends.push_back(end);
    ++end;
  }
  return ends;
}

class LevalWork : public EvalWork {
 public:
  LevalWork(const Engine& engine, const EvalOptions& options)
      : engine_(engine), options_(options), prompts_(engine) {
    if (options.data.empty()) {
      fail(ErrorCode::kInvalidArgument,
           "leval needs --data: L-Eval's files (tpo.jsonl, ...) or the folder that holds them");
    }
    data_ = read_leval(options.data, options.tasks, options.n_samples);
    has_closed_ = std::ranges::any_of(
        data_.documents, [](const LevalDocument& document) { return document.task->is_closed(); });
    Sha256 hash;
    for (const LevalDocument& document : data_.documents) {
      add_to(hash, document);
      n_tokens_.push_back(longest_prompt(document) + document.task->max_tokens);
    }
    digest_ = hash.hex_digest();
    if (options_.ctx.empty()) {
      options_.ctx = {
          std::min(std::ranges::max(n_tokens_) + kSpareTokens, engine.config().max_positions)};
    }
    for (const int64_t ctx : options_.ctx) check_places(ctx);
  }

  std::vector<EvalUnit> units() const override { return units_of_texts(options_.ctx, n_tokens_); }

  nlohmann::ordered_json settings() const override {
    return {{"--ctx", options_.ctx}, {"--samples", options_.n_samples}, {"documents", digest_}};
  }

  std::vector<std::string> notes() const override {
    std::vector<std::string> notes;
    if (data_.n_judged > 0) {
      notes.push_back(
          fmt::format("{} {} left out: L-Eval has people or a model judge their answers",
                      data_.n_judged, data_.n_judged == 1 ? "document is" : "documents are"));
    }
    for (const int64_t ctx : options_.ctx) {
      const auto n = std::ranges::count_if(n_tokens_, [&](int64_t size) { return size > ctx; });
      if (n > 0) {
        notes.push_back(fmt::format("{} {} cut to {} tokens", n,
                                    n == 1 ? "document is" : "documents are", ctx));
      }
    }
    return notes;
  }

  void run(const EvalUnit& unit, std::span<const EvalColumn* const> columns, const CellDone& done,
           const Progress& progress, const CancelToken* cancel) override {
    const LevalDocument& document = data_.documents[static_cast<size_t>(unit.sample)];
    const LevalPrompts made = fit(document, unit.ctx);
    AskOptions ask;
    ask.kv_type = options_.kv_type;
    ask.audit_every = options_.audit_every;
    ask.answers.assign(made.prompts.size(), answer_options(*document.task));
    ask_columns(
        engine_, made.prompts, columns, ask,
        [&](const EvalColumn& column, const ColumnAnswers& answers) {
          done(column, cell_of(document, made, answers));
        },
        progress, cancel);
  }

 private:
  static void add_to(Sha256& hash, const LevalDocument& document) {
    nlohmann::json json{document.task->name, document.text, document.by_rouge};
    for (const LevalQuestion& question : document.questions) {
      json.push_back({question.instruction, question.expected});
    }
    const std::string text = json.dump();
    hash.update(std::as_bytes(std::span(text)));
  }

  Prompt prompt(const LevalDocument& document, std::string_view text,
                const LevalQuestion& question) const {
    return prompts_.ask(std::string(document.task->system),
                        leval_user_text(document, text, question), "\nAnswer:");
  }

  std::vector<Prompt> prompts_of(const LevalDocument& document, std::string_view text) const {
    std::vector<Prompt> prompts;
    for (const LevalQuestion& question : document.questions) {
      prompts.push_back(prompt(document, text, question));
    }
    return prompts;
  }

  // The question with the most tokens.
  const LevalQuestion& longest_question(const LevalDocument& document) const {
    return *std::ranges::max_element(document.questions, {}, [&](const LevalQuestion& question) {
      return engine_.tokenizer().encode(question.instruction).size();
    });
  }

  int64_t longest_prompt(const LevalDocument& document) const {
    return prompt(document, document.text, longest_question(document)).n_tokens();
  }

  // What is to be cut must leave the questions.
  void check_places(int64_t ctx) const {
    for (size_t i = 0; i < n_tokens_.size(); ++i) {
      if (n_tokens_[i] <= ctx) continue;
      const LevalDocument& document = data_.documents[i];
      const int64_t least = prompt(document, "", longest_question(document)).n_tokens() +
                            document.task->max_tokens + kSpareTokens;
      if (least <= ctx) continue;
      fail(ErrorCode::kInvalidArgument,
           "{}: a question and its answer take {} tokens without the document, more than {}; give "
           "a larger --ctx",
           document.where, least, ctx);
    }
  }

  // Leaves out the fewest words at the end of the text for which all prompts have a place.
  LevalPrompts fit(const LevalDocument& document, int64_t ctx) const {
    const int64_t most = ctx - document.task->max_tokens;
    LevalPrompts made{prompts_of(document, document.text)};
    if (longest_of(made.prompts) <= most) return made;
    const LevalQuestion& longest = longest_question(document);
    const std::vector<size_t> ends = word_ends(document.text);
    const std::string_view text = document.text;
    auto n = std::ranges::partition_point(
                 ends,
                 [&](size_t end) {
                   return prompt(document, text.substr(0, end), longest).n_tokens() <= most;
                 }) -
             ends.begin();
    for (;; --n) {
      const std::string_view cut =
          n > 0 ? text.substr(0, ends[static_cast<size_t>(n - 1)]) : std::string_view();
      made.prompts = prompts_of(document, cut);
      if (n == 0 || longest_of(made.prompts) <= most) break;
    }
    made.words_left_out = std::ssize(ends) - n;
    return made;
  }

  GenerateOptions answer_options(const LevalTask& task) const {
    GenerateOptions options = prompts_.answer_options(task.max_tokens);
    // Answers that reason have lines; what a model asks itself after one is no part of it.
    if (task.kind == LevalKind::kNumber) options.stops = {"Question:"};
    if (task.kind == LevalKind::kText) options.stops = {};
    return options;
  }

  CellResult cell_of(const LevalDocument& document, const LevalPrompts& made,
                     const ColumnAnswers& answers) const {
    CellResult result = answers.cell();
    const LevalTask& task = *document.task;
    result.measures[kScore];  // of an open task beside closed ones it is over nothing
    nlohmann::ordered_json list = nlohmann::ordered_json::array();
    for (size_t i = 0; i < document.questions.size(); ++i) {
      const LevalQuestion& question = document.questions[i];
      const std::string& answer = answers.answers[i];
      double score = 0;
      if (task.is_closed()) {
        score = leval_exact_match(answer, question.counts, task.kind);
      } else {
        const double f1 = squad_f1(answer, question.expected);
        const double rouge = rouge_l(answer, question.expected);
        score = document.by_rouge ? rouge : f1;
        result.measures[kF1] += {f1, 1};
        result.measures[kRougeL] += {rouge, 1};
      }
      result.measures[std::string(task.name)] += {score, 1};
      if (task.is_closed() || !has_closed_) result.measures[kScore] += {score, 1};
      list.push_back({{"score", score},
                      {"question", question.instruction},
                      {"expected", question.expected},
                      {"answer", answer}});
    }
    result.details["document"] = document.where;
    result.details["words_left_out"] = made.words_left_out;
    result.details["answers"] = std::move(list);
    return result;
  }

  const Engine& engine_;
  EvalOptions options_;
  PromptMaker prompts_;
  LevalData data_;
  bool has_closed_ = false;
  std::vector<int64_t> n_tokens_;  // of each document with its longest question and answer
  std::string digest_;
};

}  // namespace

std::unique_ptr<EvalWork> prepare_leval(const Engine& engine, const EvalOptions& options) {
  return std::make_unique<LevalWork>(engine, options);
}

}  // namespace chunkllm
