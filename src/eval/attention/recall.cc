#include "eval/attention/recall.h"

#include <algorithm>

#include "base/timer.h"
#include "data/corpus.h"
#include "eval/attention/dense_look.h"
#include "eval/attention/question_text.h"
#include "eval/attention/recall_pass.h"
#include "eval/layer_values.h"
#include "eval/results.h"
#include "eval/text_windows.h"

namespace chunkllm {
namespace {

constexpr int64_t kDefaultQuestions = 10;
constexpr int64_t kTokensPerRandomQuery = 64;
constexpr int64_t kLeastTokens = 256;

// The tokens of a sequence that are looked at.
RecallListener::Track track_with_queries(const ChunkTrack& chunks, const Prompt& prompt,
                                         uint64_t seed) {
  RecallListener::Track track{.chunks = chunks, .queries = {}};
  std::vector<RecallListener::Query>& queries = track.queries;
  for (const int64_t end : prompt.ends) queries.push_back({end, RecallPlace::kPromptEnd});
  for (const int64_t end : chunks.ends) queries.push_back({end - 1, RecallPlace::kBoundary});
  Rng rng(seed);
  for (int64_t i = 0; i < prompt.n_tokens() / kTokensPerRandomQuery; ++i) {
    queries.push_back({rng.below(prompt.n_tokens()), RecallPlace::kRandom});
  }
  // Of those at one position the first kind counts.
  std::ranges::sort(queries, {}, [](const RecallListener::Query& query) {
    return std::pair(query.position, query.place);
  });
  const auto same = [](const RecallListener::Query& a, const RecallListener::Query& b) {
    return a.position == b.position;
  };
  queries.erase(std::unique(queries.begin(), queries.end(), same), queries.end());
  return track;
}

class RecallWork : public EvalWork {
 public:
  RecallWork(const Engine& engine, const EvalOptions& options)
      : engine_(engine),
        options_(with_defaults(engine, options)),
        look_(engine, options_),
        text_(read_joined_text(options_.data)),
        haystacks_(engine, text_.text),
        texts_(engine, haystacks_) {
    // What does not fit is said before anything runs.
    for (const int64_t ctx : options_.ctx) make_prompt({ctx, 0, ctx});
  }

  std::vector<EvalUnit> units() const override {
    return units_of_lengths(options_.ctx, options_.n_samples);
  }

  nlohmann::ordered_json settings() const override {
    nlohmann::ordered_json json = {{"--ctx", options_.ctx},
                                   {"--samples", options_.n_samples},
                                   {"--questions", options_.n_questions},
                                   {"text", text_.fingerprint}};
    json.update(look_.settings());
    return json;
  }

  void run(const EvalUnit& unit, std::span<const EvalColumn* const> columns, const CellDone& done,
           const Progress& progress, const CancelToken* cancel) override {
    const Timer timer;
    const Prompt prompt = make_prompt(unit);
    const uint64_t seed = seed_of(unit);
    CellResult result;
    look_.run(
        prompt, progress, cancel,
        [&](const ChunkedText& text, const DenseLook::Run& run) {
          const RecallListener::Track others = track_with_queries(text.chunks, prompt, seed);
          std::optional<RecallListener::Track> first;
          if (text.grid) first = track_with_queries(*text.grid, prompt, seed);
          RecallListener listener(engine_.config(), engine_.adapters().sentence, others,
                                  first ? &*first : nullptr,
                                  {.budgets = look_.budgets(),
                                   .sink = look_.sink(),
                                   .window = look_.window(),
                                   .seed = seed});
          run(listener);
          result.layers = listener.values(options_.budgets);
        },
        result);
    const std::optional<double> score = typical_mean(result.layers.at(score_name()));
    result.measures[kScore] = {score.value_or(0.0), score ? 1.0 : 0.0};
    result.seconds = timer.seconds();
    done(*columns.front(), result);
  }

  std::string table(std::span<const EvalRow> rows) const override {
    std::string table =
        "| context | budget | chosen by | prompt ends | boundaries | random tokens | recall@8: "
        "prompt ends | boundaries | random tokens | prompt ends by depth: first third | middle | "
        "last |\n|---|---|---|---|---|---|---|---|---|---|---|---|\n";
    for (const EvalRow& row : rows) {
      for (const std::string& budget : options_.budgets) {
        for (const EnumName<RecallMethod>& method : kEnumNames<RecallMethod>) {
          if (method.value == RecallMethod::kChunk && engine_.adapters().sentence == nullptr)
            continue;
          add_line(row, budget, method.name, method.value, table);
        }
        add_line(row, budget, "oracle, of all mass", std::nullopt, table);
      }
    }
    return table;
  }

 private:
  static EvalOptions with_defaults(const Engine& engine, EvalOptions options) {
    fill_text_options(engine, options, kLeastTokens);
    if (options.n_questions == 0) options.n_questions = kDefaultQuestions;
    return options;
  }

  uint64_t seed_of(const EvalUnit& unit) const {
    return sample_seed(options_.seed, unit.ctx, unit.sample);
  }

  Prompt make_prompt(const EvalUnit& unit) const {
    Rng rng(seed_of(unit));
    return texts_.make(rng, unit.ctx, options_.n_questions);
  }

  std::string score_name() const {
    const RecallMethod method =
        engine_.adapters().sentence != nullptr ? RecallMethod::kChunk : RecallMethod::kMeanKey;
    return captured_name(options_.budgets.front(), RecallPlace::kPromptEnd, enum_name(method));
  }

  // Without a method, of the oracle.
  static void add_line(const EvalRow& row, const std::string& budget, std::string_view label,
                       std::optional<RecallMethod> method, std::string& table) {
    const std::string_view by = method ? enum_name(*method) : kOracle;
    std::vector<std::optional<double>> numbers;
    for (const EnumName<RecallPlace>& place : kEnumNames<RecallPlace>) {
      numbers.push_back(typical_mean(row.layer_values(captured_name(budget, place.value, by))));
    }
    for (const EnumName<RecallPlace>& place : kEnumNames<RecallPlace>) {
      numbers.push_back(method ? typical_mean(row.layer_values(recall_name(place.value, *method)))
                               : std::nullopt);
    }
    add_thirds(row.layer_values(captured_name(budget, RecallPlace::kPromptEnd, by)), numbers);
    table += layer_line({std::to_string(row.ctx), budget, std::string(label)}, numbers);
  }

  const Engine& engine_;
  EvalOptions options_;
  DenseLook look_;
  JoinedText text_;
  HaystackMaker haystacks_;
  QuestionTexts texts_;
};

}  // namespace

std::unique_ptr<EvalWork> prepare_recall(const Engine& engine, const EvalOptions& options) {
  return std::make_unique<RecallWork>(engine, options);
}

}  // namespace chunkllm
