#include "data/grammar.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <array>
#include <map>

#include "base/error.h"

namespace chunkllm {
namespace {

std::string expand(const std::vector<GrammarRule>& rules, std::string_view name,
                   const std::vector<std::string>& values = {}, uint64_t seed = 1) {
  static constexpr std::array<std::string_view, 2> kVariables = {"who", "where"};
  const std::array<std::span<const GrammarRule>, 1> tables = {rules};
  const Grammar grammar(tables, std::span(kVariables).first(values.size()));
  Rng rng(seed);
  std::string out;
  grammar.expand(grammar.rule(name), rng, values, out);
  return out;
}

TEST(Grammar, ReplacesRulesAndVariables) {
  EXPECT_EQ(expand({{"act", "slept"}, {"s", "{who} {act} in {where}."}}, "s", {"She", "Rome"}),
            "She slept in Rome.");
}

TEST(Grammar, CapitalisesAsciiLettersOnly) {
  EXPECT_EQ(expand({{"a1", "cat"}, {"b1", "9 cats"}, {"s", "{^a1} {^b1} {^who}"}}, "s", {"éa"}),
            "Cat 9 cats éa");
}

TEST(Grammar, ChoosesTheArticleByTheLetterThatFollows) {
  EXPECT_EQ(expand({{"n1", "owl"}, {"n2", "cat"}, {"s", "{^a} {n1} and {a} {n2}, {a} axe"}}, "s"),
            "An owl and a cat, an axe");
}

TEST(Grammar, ArticleSkipsPiecesThatAreEmpty) {
  EXPECT_EQ(expand({{"s", "{a} {who}owl"}}, "s", {""}), "an owl");
}

TEST(Grammar, ChoosesAlternativesByWeight) {
  std::map<std::string, int> counts;
  for (uint64_t seed = 0; seed < 4000; ++seed) ++counts[expand({{"s", "3*x|y"}}, "s", {}, seed)];
  ASSERT_EQ(counts.size(), 2u);
  EXPECT_NEAR(counts["x"], 3000, 150);
}

TEST(Grammar, RefusesWhatWouldNotEndOrIsUnknown) {
  const auto message = [](const std::vector<GrammarRule>& rules, std::string_view name) {
    try {
      expand(rules, name);
    } catch (const Error& error) {
      EXPECT_EQ(error.code(), ErrorCode::kInvalidArgument);
      return std::string(error.what());
    }
    return std::string("no error");
  };
  EXPECT_THAT(message({{"s", "x {s}"}}, "s"), testing::HasSubstr("'s' refers to 's'"));
  EXPECT_THAT(message({{"s", "{later}"}, {"later", "x"}}, "s"), testing::HasSubstr("'later'"));
  EXPECT_THAT(message({{"s", "x {open"}}, "s"), testing::HasSubstr("not closed"));
  EXPECT_THAT(message({{"s", "0*x"}}, "s"), testing::HasSubstr("no alternative"));
  EXPECT_THAT(message({{"s", "x"}}, "t"), testing::HasSubstr("no rule 't'"));
}

}  // namespace
}  // namespace chunkllm
