// Random text from a grammar: rules with alternatives that refer to other rules and to variables.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/random.h"

namespace chunkllm {

// One rule. The alternatives are separated by '|'; one that begins with a digit and '*' ("3*...")
// is that many times as likely as the others. Inside them
//   {name}   is any alternative of a rule of an earlier table line, or the value of a variable,
//   {^name}  is the same with its first letter in upper case,
//   {a}      and the space after it are "a " or "an ", by the letter that follows; {^a} is "A " or
//   "An ".
// Everything else stands for itself.
struct GrammarRule {
  std::string_view name;
  std::string_view alternatives;
};

// Compiled rules. Immutable once made; any thread may call it. Views the tables, which must outlive
// it.
class Grammar {
 public:
  // A rule may refer only to rules before it, so that every expansion ends. `variables` are the
  // names of the values that expand() is given, in that order. Throws Error (kInvalidArgument)
  // naming the rule if a reference is unknown or a brace is not closed.
  Grammar(std::span<const std::span<const GrammarRule>> tables,
          std::span<const std::string_view> variables);

  // The index of a rule. Throws Error (kInvalidArgument) if there is none of that name.
  size_t rule(std::string_view name) const;

  // Appends one random alternative of rule `index` to `out`.
  void expand(size_t index, Rng& rng, std::span<const std::string> values, std::string& out) const;

 private:
  struct Piece {
    enum class Kind { kText, kRule, kVariable, kArticle } kind = Kind::kText;
    bool is_capital = false;
    size_t index = 0;       // of the rule or variable
    std::string_view text;  // of kText
  };
  using Alternative = std::vector<Piece>;
  struct Rule {
    std::string_view name;
    std::vector<Alternative> alternatives;
    std::vector<uint32_t> choices;  // alternative indices, each as often as its weight
  };

  void compile(const GrammarRule& source, std::span<const std::string_view> variables);
  Piece reference(std::string_view name, std::string_view where,
                  std::span<const std::string_view> variables) const;
  const Rule* find(std::string_view name) const;

  std::vector<Rule> rules_;
};

}  // namespace chunkllm
