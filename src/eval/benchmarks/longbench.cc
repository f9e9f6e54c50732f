#include "eval/benchmarks/longbench.h"

#include <algorithm>
#include <map>

#include "base/atomic_file.h"
#include "base/error.h"
#include "base/json.h"
#include "base/json_log.h"
#include "base/sha256.h"
#include "data/prompt_maker.h"
#include "eval/benchmarks/longbench_data.h"
#include "eval/cells.h"
#include "eval/reading.h"

namespace chunkllm {
namespace {

// A prompt in a context.
struct FittedPrompt {
  Prompt prompt;
  int64_t tokens_left_out = 0;
};

class LongbenchWork : public EvalWork {
 public:
  LongbenchWork(const Engine& engine, const EvalOptions& options)
      : engine_(engine), options_(options), maker_(engine) {
    if (options.data.empty()) {
      fail(ErrorCode::kInvalidArgument,
           "longbench needs --data: LongBench's files (qasper.jsonl, ...) or the folder that holds "
           "them");
    }
    data_ = read_longbench(options.data, options.tasks, options.n_samples);
    prompts_ = read_longbench_prompts(options.prompts, options.data, data_);
    Sha256 hash;
    for (const LongbenchItem& item : data_.items) {
      const LongbenchPrompt& prompt = prompt_of(item);
      const std::string text =
          nlohmann::json{item.dataset->name, item.context, item.input,       item.answers,
                         item.classes,       prompt.text,  prompt.max_tokens}
              .dump();
      hash.update(std::as_bytes(std::span(text)));
      n_tokens_.push_back(ask(item, text_of(item)).n_tokens() + prompt.max_tokens);
    }
    digest_ = hash.hex_digest();
    if (options_.ctx.empty()) {
      options_.ctx = {std::min(std::ranges::max(n_tokens_), engine.config().max_positions)};
    }
    for (const int64_t ctx : options_.ctx) check_places(ctx);
  }

  std::vector<EvalUnit> units() const override { return units_of_texts(options_.ctx, n_tokens_); }

  nlohmann::ordered_json settings() const override {
    return {{"--ctx", options_.ctx}, {"--samples", options_.n_samples}, {"lines", digest_}};
  }

  std::vector<std::string> notes() const override {
    std::vector<std::string> notes;
    if (data_.n_chinese > 0) {
      notes.push_back(fmt::format("{} {} left out: Chinese datasets are not scored",
                                  data_.n_chinese, data_.n_chinese == 1 ? "line is" : "lines are"));
    }
    for (const int64_t ctx : options_.ctx) {
      const auto n = std::ranges::count_if(n_tokens_, [&](int64_t size) { return size > ctx; });
      if (n > 0) {
        notes.push_back(fmt::format(
            "{} to fit {} tokens",
            n == 1 ? "1 prompt loses its middle," : fmt::format("{} prompts lose their middle,", n),
            ctx));
      }
    }
    return notes;
  }

  void run(const EvalUnit& unit, std::span<const EvalColumn* const> columns, const CellDone& done,
           const Progress& progress, const CancelToken* cancel) override {
    const LongbenchItem& item = data_.items[static_cast<size_t>(unit.sample)];
    const FittedPrompt fitted = fit(item, unit.ctx);
    AskOptions ask;
    ask.kv_type = options_.kv_type;
    ask.audit_every = options_.audit_every;
    ask.answers = {maker_.answer_options(prompt_of(item).max_tokens)};
    ask.answers[0].stops = {};  // lines are the metrics' matter
    ask_columns(
        engine_, std::span(&fitted.prompt, 1), columns, ask,
        [&](const EvalColumn& column, const ColumnAnswers& answers) {
          done(column, cell_of(item, fitted, answers));
        },
        progress, cancel);
  }

  void finish(const std::filesystem::path& folder) const override {
    // By column, dataset and sample, whichever run answered it.
    std::map<std::filesystem::path, std::map<int64_t, std::string>> files;
    for (const nlohmann::json& cell : read_json_log(folder / kCellsFile)) {
      const JsonFields fields(cell, (folder / kCellsFile).string());
      const nlohmann::json& given = fields.at("details");
      const JsonFields details(given, (folder / kCellsFile).string());
      const nlohmann::ordered_json line = {
          {"pred", details.at("pred")},
          {"answers", details.at("answers")},
          {"all_classes", given.value("all_classes", nlohmann::json())},
          {"length", details.at("length")}};
      const std::filesystem::path file =
          column_folder(fields) / (details.string("dataset") + ".jsonl");
      files[file].emplace(
          fields.integer("sample", 0, std::ssize(data_.items) - 1),
          line.dump(-1, ' ', false, nlohmann::ordered_json::error_handler_t::replace) + "\n");
    }
    for (const auto& [file, lines] : files) {
      const std::filesystem::path path = folder / kPredictionsFolder / file;
      std::error_code error;
      std::filesystem::create_directories(path.parent_path(), error);
      if (error) {
        fail(ErrorCode::kIo, "cannot make {}: {}", path.parent_path().string(), error.message());
      }
      std::string text;
      for (const auto& [sample, line] : lines) text += line;
      write_file_atomically(path, text);
    }
  }

 private:
  const LongbenchPrompt& prompt_of(const LongbenchItem& item) const {
    return prompts_.find(item.dataset->name)->second;
  }

  std::string text_of(const LongbenchItem& item) const {
    return prompt_of(item).with(item.context, item.input);
  }

  Prompt ask(const LongbenchItem& item, const std::string& text) const {
    return item.dataset->is_chat ? maker_.ask({}, text, {}) : maker_.plain(text);
  }

  // What is to be cut must leave something.
  void check_places(int64_t ctx) const {
    for (size_t i = 0; i < n_tokens_.size(); ++i) {
      if (n_tokens_[i] <= ctx) continue;
      const LongbenchItem& item = data_.items[i];
      const int64_t least = ask(item, ".").n_tokens() + prompt_of(item).max_tokens + kLeastTokens;
      if (least <= ctx) continue;
      fail(ErrorCode::kInvalidArgument,
           "{}: an answer and {} tokens of the prompt take {} tokens, more than {}; give a larger "
           "--ctx",
           item.where, kLeastTokens, least, ctx);
    }
  }

  // The first and the last half of the tokens that have a place, as LongBench cuts.
  FittedPrompt fit(const LongbenchItem& item, int64_t ctx) const {
    const std::string text = text_of(item);
    const int64_t most = ctx - prompt_of(item).max_tokens;
    FittedPrompt fitted{ask(item, text)};
    if (fitted.prompt.n_tokens() <= most) return fitted;
    const Tokenizer& tokenizer = engine_.tokenizer();
    const std::vector<int32_t> ids = tokenizer.encode(text, {.parse_special = false});
    int64_t half = std::min(most, std::ssize(ids)) / 2;
    while (half > 0) {
      const auto n = static_cast<size_t>(half);
      fitted.prompt = ask(item, tokenizer.decode(std::span(ids).first(n), true) +
                                    tokenizer.decode(std::span(ids).last(n), true));
      fitted.tokens_left_out = std::ssize(ids) - 2 * half;
      // What the chat template adds, and what another cut of the text costs.
      const int64_t excess = fitted.prompt.n_tokens() - most;
      if (excess <= 0) return fitted;
      half -= (excess + 1) / 2;
    }
    fail(ErrorCode::kInvalidArgument,
         "{}: the prompt cannot be cut to {} tokens; give a larger --ctx", item.where, ctx);
  }

  CellResult cell_of(const LongbenchItem& item, const FittedPrompt& fitted,
                     const ColumnAnswers& answers) const {
    CellResult result = answers.cell();
    const std::string& answer = answers.answers[0];
    const std::string_view counts = item.dataset->by_first_line ? first_line(answer) : answer;
    std::vector<std::string> classes;
    if (!item.classes.is_null()) classes = item.classes.get<std::vector<std::string>>();
    double score = 0;
    for (const std::string& expected : item.answers) {
      score = std::max(score, longbench_score(item.dataset->metric, counts, expected, classes));
    }
    result.measures[kScore] = {score, 1};
    result.measures[std::string(item.dataset->name)] = {score, 1};
    result.details["line"] = item.where;
    result.details["dataset"] = item.dataset->name;
    result.details["tokens_left_out"] = fitted.tokens_left_out;
    result.details["score"] = score;
    result.details["pred"] = answer;
    result.details["answers"] = item.answers;
    result.details["all_classes"] = item.classes;
    result.details["length"] = item.length;
    return result;
  }

  // "full", "chunk_0.25_prefill_full", with the length where there are several.
  std::filesystem::path column_folder(const JsonFields& cell) const {
    std::string name = cell.string("policy");
    if (cell.has("kv_budget")) name += "_" + cell.at("kv_budget").dump();
    if (cell.has("prefill")) name += "_prefill_" + cell.string("prefill");
    if (options_.ctx.size() > 1) name += "_ctx_" + cell.at("ctx").dump();
    return name;
  }

  static constexpr int64_t kLeastTokens = 16;

  const Engine& engine_;
  EvalOptions options_;
  PromptMaker maker_;
  LongbenchData data_;
  LongbenchPrompts prompts_;
  std::vector<int64_t> n_tokens_;  // of each item with its answer
  std::string digest_;
};

}  // namespace

std::unique_ptr<EvalWork> prepare_longbench(const Engine& engine, const EvalOptions& options) {
  return std::make_unique<LongbenchWork>(engine, options);
}

}  // namespace chunkllm
