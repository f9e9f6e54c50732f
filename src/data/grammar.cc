#include "data/grammar.h"

#include <algorithm>

#include "base/error.h"

namespace chunkllm {
namespace {

bool is_vowel(char c) { return std::string_view("aeiouAEIOU").find(c) != std::string_view::npos; }

}  // namespace

Grammar::Grammar(std::span<const std::span<const GrammarRule>> tables,
                 std::span<const std::string_view> variables) {
  for (const auto& table : tables) {
    for (const GrammarRule& source : table) compile(source, variables);
  }
}

const Grammar::Rule* Grammar::find(std::string_view name) const {
  const auto it = std::find_if(rules_.begin(), rules_.end(),
                               [&](const Rule& rule) { return rule.name == name; });
  return it == rules_.end() ? nullptr : &*it;
}

size_t Grammar::rule(std::string_view name) const {
  const Rule* found = find(name);
  if (!found) fail(ErrorCode::kInvalidArgument, "grammar: there is no rule '{}'", name);
  return static_cast<size_t>(found - rules_.data());
}

Grammar::Piece Grammar::reference(std::string_view name, std::string_view where,
                                  std::span<const std::string_view> variables) const {
  Piece piece;
  if (name.starts_with('^')) {
    piece.is_capital = true;
    name.remove_prefix(1);
  }
  if (name == "a") {
    piece.kind = Piece::Kind::kArticle;
  } else if (const auto it = std::find(variables.begin(), variables.end(), name);
             it != variables.end()) {
    piece.kind = Piece::Kind::kVariable;
    piece.index = static_cast<size_t>(it - variables.begin());
  } else if (const Rule* found = find(name)) {
    piece.kind = Piece::Kind::kRule;
    piece.index = static_cast<size_t>(found - rules_.data());
  } else {
    fail(ErrorCode::kInvalidArgument,
         "grammar: rule '{}' refers to '{}', which is neither a variable nor an earlier rule",
         where, name);
  }
  return piece;
}

void Grammar::compile(const GrammarRule& source, std::span<const std::string_view> variables) {
  Rule rule{source.name, {}, {}};
  std::string_view rest = source.alternatives;
  for (bool more = true; more;) {
    const size_t bar = rest.find('|');
    std::string_view alternative = rest.substr(0, bar);
    more = bar != std::string_view::npos;
    if (more) rest.remove_prefix(bar + 1);

    int weight = 1;
    if (alternative.size() > 1 && alternative[1] == '*') {
      weight = alternative[0] - '0';
      alternative.remove_prefix(2);
    }
    Alternative pieces;
    while (!alternative.empty()) {
      const size_t open = alternative.find('{');
      if (open != 0) {
        pieces.push_back({.text = alternative.substr(0, open)});
        alternative.remove_prefix(std::min(open, alternative.size()));
        continue;
      }
      const size_t close = alternative.find('}');
      if (close == std::string_view::npos) {
        fail(ErrorCode::kInvalidArgument, "grammar: rule '{}' has a brace that is not closed",
             source.name);
      }
      pieces.push_back(reference(alternative.substr(1, close - 1), source.name, variables));
      alternative.remove_prefix(close + 1);
      if (pieces.back().kind == Piece::Kind::kArticle && alternative.starts_with(' ')) {
        alternative.remove_prefix(1);  // the article brings its own
      }
    }
    rule.choices.insert(rule.choices.end(), static_cast<size_t>(std::max(weight, 0)),
                        static_cast<uint32_t>(rule.alternatives.size()));
    rule.alternatives.push_back(std::move(pieces));
  }
  if (rule.choices.empty()) {
    fail(ErrorCode::kInvalidArgument, "grammar: rule '{}' has no alternative", source.name);
  }
  rules_.push_back(std::move(rule));
}

void Grammar::expand(size_t index, Rng& rng, std::span<const std::string> values,
                     std::string& out) const {
  const Rule& rule = rules_[index];
  const auto choice = static_cast<size_t>(rng.below(static_cast<int64_t>(rule.choices.size())));
  bool after_article = false;
  for (const Piece& piece : rule.alternatives[rule.choices[choice]]) {
    const size_t begin = out.size();
    switch (piece.kind) {
      case Piece::Kind::kText:
        out += piece.text;
        break;
      case Piece::Kind::kVariable:
        out += values[piece.index];
        break;
      case Piece::Kind::kRule:
        expand(piece.index, rng, values, out);
        break;
      case Piece::Kind::kArticle:
        out += "a ";
        break;
    }
    if (begin == out.size()) continue;
    if (after_article && is_vowel(out[begin])) out.insert(begin - 1, 1, 'n');
    after_article = piece.kind == Piece::Kind::kArticle;
    if (piece.is_capital && 'a' <= out[begin] && out[begin] <= 'z') {
      out[begin] = static_cast<char>(out[begin] - 'a' + 'A');
    }
  }
}

}  // namespace chunkllm
