#include "eval/ruler.h"

#include <algorithm>
#include <bit>
#include <set>

#include "base/error.h"
#include "base/sha256.h"
#include "data/json_lines.h"
#include "data/prompt_maker.h"
#include "data/ruler/lines.h"

namespace chunkllm {
namespace {

constexpr int64_t kDefaultSamples = 4;  // of each file

// A line that is asked.
struct Asked {
  RulerLine line;
  int64_t ctx = 0;
  int64_t n_tokens = 0;  // of the prompt
};

class RulerWork : public EvalWork {
 public:
  RulerWork(const Engine& engine, const EvalOptions& options)
      : engine_(engine), options_(options), prompts_(engine) {
    if (options.data.empty()) {
      fail(ErrorCode::kInvalidArgument,
           "ruler needs --data: JSON lines with index, input, outputs and length");
    }
    if (options_.n_samples == 0) options_.n_samples = kDefaultSamples;
    std::ranges::sort(options_.ctx);
    Sha256 hash;
    for (const std::filesystem::path& file : json_line_files(options.data)) add_file(file, hash);
    digest_ = hash.hex_digest();
    if (n_left_out_ > 0) {
      notes_.push_back(fmt::format("lines longer than --ctx {} are left out: {}",
                                   options_.ctx.back(), n_left_out_));
    }
    if (asked_.empty()) {
      fail(ErrorCode::kInvalidArgument, "{} has no line to ask{}; give {}",
           options.data.front().string(),
           n_left_out_ > 0 ? fmt::format(" of at most {} tokens", options_.ctx.back()) : "",
           n_left_out_ > 0 ? "a larger --ctx" : ".jsonl files");
    }
    std::ranges::stable_sort(asked_, {}, &Asked::ctx);
  }

  std::vector<EvalUnit> units() const override {
    std::vector<EvalUnit> units;
    for (const Asked& asked : asked_) {
      units.push_back({asked.ctx, std::ssize(units), asked.n_tokens});
    }
    return units;
  }

  nlohmann::ordered_json settings() const override {
    return {{"--ctx", options_.ctx}, {"--samples", options_.n_samples}, {"lines", digest_}};
  }

  std::vector<std::string> notes() const override { return notes_; }

  void run(const EvalUnit& unit, std::span<const EvalColumn* const> columns, const CellDone& done,
           const Progress& progress, const CancelToken* cancel) override {
    const RulerLine& line = asked_[static_cast<size_t>(unit.sample)].line;
    const RetrievalQuestion question{tail_of(line.input), line.answer_begin, line.expected};
    const std::vector<Prompt> prompts{prompt_of(line)};
    AskOptions ask;
    ask.kv_type = options_.kv_type;
    ask.audit_every = options_.audit_every;
    ask.answers = {prompts_.answer_options(answer_tokens(line))};
    ask.answers[0].stops.clear();  // RULER knows none
    ask_columns(
        engine_, prompts, columns, ask,
        [&](const EvalColumn& column, const ColumnAnswers& answers) {
          CellResult result = cell_of_retrieval(line.task, std::span(&question, 1), answers);
          result.details["index"] = line.index;
          done(column, result);
        },
        progress, cancel);
  }

 private:
  // The line that the question stands in.
  static std::string tail_of(const std::string& input) {
    const size_t end = input.find_last_not_of(" \r\n\t");
    const size_t begin = end == std::string::npos ? end : input.rfind('\n', end);
    return begin == std::string::npos ? input : input.substr(begin + 1);
  }

  static int64_t answer_tokens(const RulerLine& line) {
    return retrieval_family(line.task).answer_tokens;
  }

  Prompt prompt_of(const RulerLine& line) const {
    return prompts_.begun(line.input, line.answer_begin);
  }

  // The length that a line belongs to, or 0.
  int64_t ctx_of(const RulerLine& line) const {
    if (options_.ctx.empty()) {
      return static_cast<int64_t>(std::bit_ceil(static_cast<uint64_t>(line.length)));
    }
    const auto ctx = std::ranges::lower_bound(options_.ctx, line.length);
    return ctx != options_.ctx.end() ? *ctx : 0;
  }

  void add_file(const std::filesystem::path& file, Sha256& hash) {
    int64_t n_of_file = 0;
    for (RulerLine& line : read_ruler_lines(file)) {
      const int64_t ctx = ctx_of(line);
      if (ctx == 0) {
        ++n_left_out_;
        continue;
      }
      if (n_of_file++ >= options_.n_samples) continue;
      const std::string text =
          nlohmann::json{line.task, line.input, line.answer_begin, line.expected}.dump();
      hash.update(std::as_bytes(std::span(text)));
      const int64_t n_tokens = prompt_of(line).n_tokens();
      const int64_t most_tokens = engine_.config().max_positions;
      if (n_tokens + answer_tokens(line) > most_tokens) {
        fail(ErrorCode::kData,
             "{}: prompt and answer have {} and {} tokens, more than the {} positions of the "
             "model; leave longer lines out with --ctx",
             line.where, n_tokens, answer_tokens(line), most_tokens);
      }
      asked_.push_back({std::move(line), ctx, n_tokens});
    }
  }

  const Engine& engine_;
  EvalOptions options_;
  PromptMaker prompts_;
  std::vector<Asked> asked_;
  int64_t n_left_out_ = 0;
  std::string digest_;
  std::vector<std::string> notes_;
};

}  // namespace

std::unique_ptr<EvalWork> prepare_ruler(const Engine& engine, const EvalOptions& options) {
  return std::make_unique<RulerWork>(engine, options);
}

CellResult cell_of_retrieval(std::string_view task, std::span<const RetrievalQuestion> questions,
                             const ColumnAnswers& answers) {
  const RetrievalFamily& family = retrieval_family(task);
  CellResult result = answers.cell();
  nlohmann::ordered_json list = nlohmann::ordered_json::array();
  Measure& of_task = result.measures[std::string(task)];
  for (size_t i = 0; i < questions.size(); ++i) {
    const double score = retrieval_score(family, answers.answers[i], questions[i].expected);
    of_task += Measure{score, 1};
    list.push_back({{"score", score},
                    {"question", questions[i].question},
                    {"answer_begin", questions[i].answer_begin},
                    {"expected", questions[i].expected},
                    {"answer", answers.answers[i]}});
  }
  result.measures[kScore] = {of_task.sum / of_task.n, 1};
  result.details["task"] = task;
  result.details["answers"] = std::move(list);
  return result;
}

}  // namespace chunkllm
