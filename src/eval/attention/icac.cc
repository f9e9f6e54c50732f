#include "eval/attention/icac.h"

#include "base/timer.h"
#include "data/made_texts.h"
#include "eval/attention/chunked_text.h"
#include "eval/attention/dense_look.h"
#include "eval/attention/icac_pass.h"
#include "eval/layer_values.h"
#include "eval/results.h"
#include "eval/text_windows.h"

namespace chunkllm {
namespace {

// Of made-up texts, by the sample.
constexpr TextKind kKinds[] = {TextKind::kProse, TextKind::kDialogue, TextKind::kCode,
                               TextKind::kJson};

TextKind kind_of(int64_t sample) { return kKinds[static_cast<size_t>(sample) % std::size(kKinds)]; }

std::string of_kind(const std::string& name, std::string_view kind) {
  return kind.empty() ? name : fmt::format("{}, {}", name, kind);
}

class IcacWork : public EvalWork {
 public:
  IcacWork(const Engine& engine, const EvalOptions& options)
      : engine_(engine),
        options_(options),
        windows_(engine, options_,
                 [](Rng& rng, int64_t sample, int64_t n_bytes) {
                   return make_text_of(rng, kind_of(sample), n_bytes);
                 }),
        look_(engine, options_) {}

  std::vector<EvalUnit> units() const override { return windows_.units(); }

  nlohmann::ordered_json settings() const override {
    nlohmann::ordered_json json = {{"--ctx", options_.ctx},
                                   {"--samples", options_.n_samples},
                                   {"text", windows_.fingerprint()}};
    json.update(look_.settings());
    return json;
  }

  std::vector<std::string> notes() const override { return windows_.notes(); }

  void run(const EvalUnit& unit, std::span<const EvalColumn* const> columns, const CellDone& done,
           const Progress& progress, const CancelToken* cancel) override {
    const Timer timer;
    // A prompt that goes on: text alone has no end.
    Prompt prompt;
    prompt.ids = windows_.ids(unit);
    int64_t fixed_tokens = 0;
    CellResult result;
    look_.run(
        prompt, progress, cancel,
        [&](const ChunkedText& text, const DenseLook::Run& run) {
          IcacListener listener(
              engine_.config(), text.chunks,
              {.budgets = look_.budgets(), .sink = look_.sink(), .window = look_.window()});
          run(listener);
          result.layers = listener.values(options_.budgets);
          fixed_tokens = listener.fixed_tokens();
        },
        result);
    if (options_.data.empty()) {
      const std::string_view kind = enum_name(kind_of(unit.sample));
      std::map<std::string, LayerValues> of_this_kind;
      for (const auto& [name, values] : result.layers) of_this_kind[of_kind(name, kind)] = values;
      result.layers.merge(of_this_kind);
      result.details["kind"] = kind;
    }
    result.details["fixed_tokens"] = fixed_tokens;
    const std::optional<double> score =
        typical_mean(result.layers.at(correlation_name(TokenPairs::kOneChunk)));
    result.measures[kScore] = {score.value_or(0.0), score ? 1.0 : 0.0};
    result.seconds = timer.seconds();
    done(*columns.front(), result);
  }

  std::string table(std::span<const EvalRow> rows) const override {
    std::string table = fmt::format(
        "| context | text | tokens of | correlation | overlap@{} | correlation by depth: first "
        "third | middle | last |\n|---|---|---|---|---|---|---|---|\n",
        kIcacK);
    for (const EvalRow& row : rows) {
      for (const std::string_view kind : kinds()) add_pairs(row, kind, table);
    }
    table +=
        "\n| context | text | budget | each token selects, of all mass | own end, of that | "
        "previous end, of that | previous end by depth: first third | middle | last |\n"
        "|---|---|---|---|---|---|---|---|---|\n";
    for (const EvalRow& row : rows) {
      for (const std::string_view kind : kinds()) {
        for (const std::string& budget : options_.budgets) add_gain(row, kind, budget, table);
      }
    }
    return table;
  }

 private:
  // The empty one is all texts together.
  std::vector<std::string_view> kinds() const {
    std::vector<std::string_view> names;
    if (options_.data.empty()) {
      for (const TextKind kind : kKinds) names.push_back(enum_name(kind));
    }
    names.emplace_back();
    return names;
  }

  static std::vector<std::string> labels_of(const EvalRow& row, std::string_view kind) {
    return {std::to_string(row.ctx), kind.empty() ? "all" : std::string(kind)};
  }

  static void add_pairs(const EvalRow& row, std::string_view kind, std::string& table) {
    for (const EnumName<TokenPairs>& pairs : kEnumNames<TokenPairs>) {
      const LayerValues correlation =
          row.layer_values(of_kind(correlation_name(pairs.value), kind));
      if (correlation.empty()) continue;
      std::vector<std::optional<double>> numbers = {
          typical_mean(correlation),
          typical_mean(row.layer_values(of_kind(overlap_name(pairs.value), kind)))};
      add_thirds(correlation, numbers);
      std::vector<std::string> labels = labels_of(row, kind);
      labels.emplace_back(pairs.name);
      table += layer_line(labels, numbers);
    }
  }

  static void add_gain(const EvalRow& row, std::string_view kind, const std::string& budget,
                       std::string& table) {
    const LayerValues previous =
        row.layer_values(of_kind(captured_name(budget, SelectedBy::kPreviousEnd), kind));
    if (previous.empty()) return;
    std::vector<std::optional<double>> numbers = {
        typical_mean(row.layer_values(of_kind(each_token_name(budget), kind))),
        typical_mean(row.layer_values(of_kind(captured_name(budget, SelectedBy::kOwnEnd), kind))),
        typical_mean(previous)};
    add_thirds(previous, numbers);
    std::vector<std::string> labels = labels_of(row, kind);
    labels.push_back(budget);
    table += layer_line(labels, numbers);
  }

  const Engine& engine_;
  EvalOptions options_;
  TextWindows windows_;
  DenseLook look_;
};

}  // namespace

std::unique_ptr<EvalWork> prepare_icac(const Engine& engine, const EvalOptions& options) {
  return std::make_unique<IcacWork>(engine, options);
}

}  // namespace chunkllm
