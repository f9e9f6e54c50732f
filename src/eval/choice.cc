#include "eval/choice.h"

#include <algorithm>
#include <cmath>

#include "base/error.h"
#include "base/json.h"
#include "base/sha256.h"
#include "base/timer.h"
#include "data/json_lines.h"
#include "engine/likelihood.h"

namespace chunkllm {
namespace {

constexpr std::string_view kBlanks = " \t\r\n";

ChoiceItem read_item(const nlohmann::json& json, const std::string& where) {
  const JsonFields fields(json, where);
  ChoiceItem item;
  item.query = fields.string("query");
  if (item.query.find_first_not_of(kBlanks) == std::string::npos) {
    fail(ErrorCode::kData, "{}: query is empty; give what the choices follow", where);
  }
  const nlohmann::json& choices = fields.at("choices");
  if (!choices.is_array() || choices.empty()) {
    fail(ErrorCode::kData, "{}: choices must be a list of texts, one at least", where);
  }
  for (const nlohmann::json& choice : choices) {
    if (!choice.is_string() ||
        choice.get_ref<const std::string&>().find_first_not_of(kBlanks) == std::string::npos) {
      fail(ErrorCode::kData, "{}: choice {} is no text, or empty; give texts", where,
           item.choices.size());
    }
    item.choices.push_back(choice.get<std::string>());
  }
  item.gold = fields.integer("gold", 0, std::ssize(item.choices) - 1);
  item.where = where;
  return item;
}

// A query and one choice as tokens.
struct ChoiceTokens {
  std::vector<int32_t> ids;
  int64_t n_given = 0;  // tokens of the query that are the same without a choice
  int64_t n_bytes = 0;  // of the choice
};

// An item ready to be scored.
struct ItemTokens {
  std::vector<ChoiceTokens> choices;
  int64_t gold = 0;
  int64_t n_tokens = 0;  // of the longest choice with the query
};

size_t best_of(const std::vector<double>& values) {
  return static_cast<size_t>(std::ranges::max_element(values) - values.begin());
}

class ChoiceWork : public EvalWork {
 public:
  ChoiceWork(const Engine& engine, const EvalOptions& options)
      : engine_(engine), options_(options) {
    if (options.data.empty()) {
      fail(ErrorCode::kInvalidArgument,
           "choice needs --data: JSON lines with query, choices and gold");
    }
    const int64_t most_tokens = options.ctx.empty() ? engine.config().max_positions
                                                    : *std::ranges::max_element(options.ctx);
    Sha256 hash;
    for (const std::filesystem::path& file : json_line_files(options.data)) {
      for (const ChoiceItem& item : read_choice_items(file)) {
        if (options_.n_samples > 0 && std::ssize(items_) >= options_.n_samples) break;
        const std::string text = nlohmann::json{item.query, item.choices, item.gold}.dump();
        hash.update(std::as_bytes(std::span(text)));
        items_.push_back(tokens_of(item));
        if (items_.back().n_tokens <= most_tokens) continue;
        fail(ErrorCode::kData, "{}: query and choice have {} tokens, more than {}; {}", item.where,
             items_.back().n_tokens, most_tokens,
             options_.ctx.empty() ? "shorten them" : "give a larger --ctx");
      }
    }
    if (items_.empty()) {
      fail(ErrorCode::kData, "{} holds no questions; give JSON lines with query, choices and gold",
           options.data.front().string());
    }
    digest_ = hash.hex_digest();
  }

  std::vector<EvalUnit> units() const override {
    std::vector<EvalUnit> units;
    for (const ItemTokens& item : items_) units.push_back({0, std::ssize(units), item.n_tokens});
    return units;
  }

  nlohmann::ordered_json settings() const override {
    return {{"items", digest_}, {"--samples", options_.n_samples}};
  }

  void run(const EvalUnit& unit, std::span<const EvalColumn* const> columns, const CellDone& done,
           const Progress&, const CancelToken* cancel) override {
    const ItemTokens& item = items_[static_cast<size_t>(unit.sample)];
    for (const EvalColumn* column : columns) done(*column, score_item(item, *column, cancel));
  }

 private:
  ItemTokens tokens_of(const ChoiceItem& item) const {
    const auto encode = [&](std::string_view text) {
      return engine_.tokenizer().encode(text, {.add_special_tokens = true, .parse_special = false});
    };
    // Blanks at the end of the query belong to the choice, as its first token has them.
    const size_t end = item.query.find_last_not_of(kBlanks) + 1;
    const std::string query = item.query.substr(0, end);
    const std::string blanks = item.query.substr(end);
    const std::vector<int32_t> query_ids = encode(query);
    ItemTokens tokens;
    tokens.gold = item.gold;
    for (const std::string& choice : item.choices) {
      const bool is_apart = !blanks.empty() || kBlanks.find(choice[0]) != std::string_view::npos;
      ChoiceTokens one;
      one.ids = encode(query + (is_apart ? blanks : " ") + choice);
      const auto [same, rest] = std::ranges::mismatch(one.ids, query_ids);
      // Something is given, and something is left to be scored.
      one.n_given = std::clamp<int64_t>(same - one.ids.begin(), 1, std::ssize(one.ids) - 1);
      one.n_bytes = std::ssize(choice);
      tokens.n_tokens = std::max(tokens.n_tokens, std::ssize(one.ids));
      tokens.choices.push_back(std::move(one));
    }
    return tokens;
  }

  CellResult score_item(const ItemTokens& item, const EvalColumn& column,
                        const CancelToken* cancel) const {
    const Timer timer;
    SessionOptions session_options;
    session_options.policy = column.policy;
    session_options.selection = column.selection;
    session_options.kv_type = options_.kv_type;
    session_options.audit_every = options_.audit_every;
    session_options.ctx = item.n_tokens;
    Session session(engine_, session_options);
    CellResult result;
    std::vector<double> plain;
    std::vector<double> by_length;
    for (const ChoiceTokens& choice : item.choices) {
      // Policies go back to different places; read anew, the text runs in the same blocks for all.
      session.rewind(0);
      const Likelihood likelihood = score_text(session, choice.ids, choice.n_given, {}, cancel);
      plain.push_back(likelihood.sum());
      by_length.push_back(plain.back() / static_cast<double>(choice.n_bytes));
      result.decode += likelihood.retention;
      if (!std::isfinite(plain.back())) {
        fail(ErrorCode::kData,
             "the likelihood of a choice under {} is no number; are the weights "
             "sound?",
             column.name());
      }
    }
    if (session.missed_mass() != nullptr) result.missed = session.missed_mass()->all;
    const auto gold = static_cast<size_t>(item.gold);
    result.measures[kScore] = {best_of(plain) == gold ? 1.0 : 0.0, 1};
    result.measures[kByLength] = {best_of(by_length) == gold ? 1.0 : 0.0, 1};
    result.details = {{"log_likelihoods", plain},
                      {"chosen", best_of(plain)},
                      {"chosen_by_length", best_of(by_length)},
                      {"gold", item.gold}};
    result.seconds = timer.seconds();
    return result;
  }

  const Engine& engine_;
  EvalOptions options_;
  std::vector<ItemTokens> items_;
  std::string digest_;
};

}  // namespace

std::vector<ChoiceItem> read_choice_items(const std::filesystem::path& file) {
  std::vector<ChoiceItem> items;
  for_each_json_line(file, [&](const nlohmann::json& record, const std::string& where) {
    items.push_back(read_item(record, where));
  });
  return items;
}

std::unique_ptr<EvalWork> prepare_choice(const Engine& engine, const EvalOptions& options) {
  return std::make_unique<ChoiceWork>(engine, options);
}

}  // namespace chunkllm
