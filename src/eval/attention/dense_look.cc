#include "eval/attention/dense_look.h"

#include <algorithm>

#include "base/error.h"
#include "engine/session_memory.h"
#include "eval/cells.h"

namespace chunkllm {
namespace {

std::vector<double> shares_of(const std::vector<std::string>& budgets) {
  std::vector<double> shares;
  for (const std::string& text : budgets) {
    const KvBudget budget = KvBudget::parse(text);
    if (!budget.fraction) {
      fail(ErrorCode::kInvalidArgument,
           "--kv-budget {}: here it is a share of the tokens that are chosen from; give one with a "
           "point, as 0.1",
           text);
    }
    if (std::ranges::find(shares, *budget.fraction) != shares.end()) {
      fail(ErrorCode::kInvalidArgument, "--kv-budget {} is asked for twice; name each budget once",
           text);
    }
    shares.push_back(*budget.fraction);
  }
  return shares;
}

// The settings', the adapter's where there is one, or else the defaults.
SelectionSettings limits_in_force(const Engine& engine, const SelectionSettings& settings) {
  SelectionSettings all = settings_with_defaults(settings, engine.adapters().sentence);
  all.sink = all.sink.value_or(kDefaultSink);
  all.window = all.window.value_or(kDefaultWindow);
  all.min_chunk = all.min_chunk.value_or(kDefaultMinChunk);
  return all;
}

}  // namespace

DenseLook::DenseLook(const Engine& engine, const EvalOptions& options)
    : engine_(engine),
      kv_type_(options.kv_type),
      budget_names_(options.budgets),
      budgets_(shares_of(options.budgets)),
      settings_(limits_in_force(engine, options.selection)) {
  settings_.budget.fraction = budgets_.front();
}

nlohmann::ordered_json DenseLook::settings() const {
  nlohmann::ordered_json json;
  nlohmann::ordered_json budgets = nlohmann::ordered_json::array();
  for (const std::string& budget : budget_names_) budgets.push_back(budget_json(budget));
  json["--kv-budget"] = std::move(budgets);
  json["--sink"] = sink();
  json["--window"] = window();
  json["--min-chunk"] = *settings_.min_chunk;
  if (engine_.adapters().sentence != nullptr)
    json["adapter digest"] = adapter_digest(*engine_.adapters().sentence);
  return json;
}

void DenseLook::run(const Prompt& prompt, const EvalWork::Progress& progress,
                    const CancelToken* cancel,
                    const std::function<void(const ChunkedText& text, const Run& run)>& look,
                    CellResult& result) const {
  const int64_t n_tokens = prompt.n_tokens();
  SessionOptions session;
  session.ctx = n_tokens;
  session.kv_type = kv_type_;
  require_session_memory(engine_, session);
  Backbone backbone(engine_.weights(), n_tokens, Backbone::kBlockTokens, kv_type_);
  const ChunkedText text = cut_into_chunks(engine_, settings_, prompt, backbone, cancel);
  look(text, [&](MassListener& listener) {
    MassPass pass(engine_.config(), sink(), listener, progress);
    backbone.run(prompt.ids, engine_.config().n_layers, pass, cancel);
  });
  result.decode = {.n_passes = n_tokens, .retention_sum = static_cast<double>(n_tokens)};
  result.details["tokens"] = n_tokens;
  result.details["chunks"] = text.chunks.n_chunks();
  result.details["prompt_ends"] = std::ssize(prompt.ends);
}

}  // namespace chunkllm
