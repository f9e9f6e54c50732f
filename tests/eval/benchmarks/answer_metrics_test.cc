#include "eval/benchmarks/answer_metrics.h"

#include <gtest/gtest.h>

#include <cmath>

#include "base/json.h"
#include "eval/benchmarks/leval_answers.h"
#include "eval/benchmarks/longbench_scores.h"
#include "eval/benchmarks/python_text.h"

namespace chunkllm {
namespace {

// What tools/make_answer_golden.py made.
const nlohmann::json& golden() {
  static const nlohmann::json values =
      read_json_file(CHUNKLLM_SOURCE_DIR "/tests/golden/answer_metrics.json");
  return values;
}

// Equal but for rounding; no number is near to NaN.
bool is_near(double value, double expected) { return std::abs(value - expected) <= 1e-12; }

LevalKind leval_kind(const std::string& name) {
  if (name == "letter") return LevalKind::kLetter;
  if (name == "letters") return LevalKind::kLetters;
  if (name == "number") return LevalKind::kNumber;
  if (name == "topic") return LevalKind::kTopic;
  return LevalKind::kTruth;
}

TEST(GoldenAnswers, MetricsArePythons) {
  EXPECT_GE(golden().at("pairs").size(), 100u);
  for (const nlohmann::json& pair : golden().at("pairs")) {
    const auto answer = pair.at("answer").get<std::string>();
    const auto expected = pair.at("expected").get<std::string>();
    EXPECT_EQ(squad_normalized(answer), pair.at("normalized").get<std::string>()) << pair;
    EXPECT_PRED2(is_near, squad_f1(answer, expected), pair.at("f1").get<double>()) << pair;
    EXPECT_PRED2(is_near, rouge_l(answer, expected), pair.at("rouge_l").get<double>()) << pair;
    EXPECT_PRED2(is_near, rouge_l_by_sentence(answer, expected), pair.at("rouge").get<double>())
        << pair;
    EXPECT_EQ(fuzzy_ratio(answer, expected), pair.at("fuzzy").get<int64_t>()) << pair;
  }
}

TEST(GoldenAnswers, MatchesAreLEvals) {
  EXPECT_GE(golden().at("leval").size(), 200u);
  for (const nlohmann::json& match : golden().at("leval")) {
    const LevalKind kind = leval_kind(match.at("kind").get<std::string>());
    const std::string expected = leval_expected(match.at("expected").get<std::string>(), kind);
    EXPECT_EQ(leval_exact_match(match.at("answer").get<std::string>(), expected, kind),
              match.at("score").get<double>())
        << match;
  }
}

TEST(GoldenAnswers, ScoresAreLongBenchs) {
  EXPECT_GE(golden().at("longbench").size(), 60u);
  for (const nlohmann::json& row : golden().at("longbench")) {
    std::vector<std::string> classes;
    if (!row.at("classes").is_null()) classes = row.at("classes").get<std::vector<std::string>>();
    const auto metric = parse_enum<LongbenchMetric>("metric", row.at("metric").get<std::string>());
    EXPECT_PRED2(is_near,
                 longbench_score(metric, row.at("answer").get<std::string>(),
                                 row.at("expected").get<std::string>(), classes),
                 row.at("score").get<double>())
        << row;
  }
}

TEST(AnswerMetrics, TheComparatorTellsNumbersApart) {
  EXPECT_TRUE(is_near(0.5, 0.5));
  EXPECT_FALSE(is_near(0.5, 0.5 + 1e-9));
  EXPECT_FALSE(is_near(0.5, -0.5));
  EXPECT_FALSE(is_near(std::nan(""), 0.5));
  EXPECT_FALSE(is_near(0.5, std::nan("")));
}

TEST(AnswerMetrics, AreOneForEqualTextsAndBounded) {
  const std::string_view texts[] = {"a river", "42", "東京 タワー", "x", "return x + 1", "é"};
  for (const std::string_view a : texts) {
    EXPECT_EQ(fuzzy_ratio(a, a), 100);
    for (const std::string_view b : texts) {
      for (const double value : {squad_f1(a, b), rouge_l(a, b), rouge_l_by_sentence(a, b),
                                 static_cast<double>(fuzzy_ratio(a, b)) / 100}) {
        EXPECT_GE(value, 0) << a << " / " << b;
        EXPECT_LE(value, 1) << a << " / " << b;
      }
      EXPECT_EQ(squad_f1(a, b), squad_f1(b, a));
      EXPECT_EQ(rouge_l(a, b), rouge_l(b, a));
    }
  }
  EXPECT_EQ(rouge_l("東京", "東京"), 0) << "rouge-score knows ASCII words alone";
}

TEST(AnswerMetrics, LongTextsOfOneCharacterBeginNoMatch) {
  const std::string many(250, 'x');
  EXPECT_EQ(fuzzy_ratio("a" + many, "b" + many), 0) << "as difflib has it";
  EXPECT_EQ(fuzzy_ratio("a" + many, "ba" + many), 100) << "made longer from what is rare";
  const std::string few(150, 'x');
  EXPECT_EQ(fuzzy_ratio("a" + few, "b" + few), 99);
}

TEST(LevalAnswers, AnEmptyAnswerIsWorthNothing) {
  for (const LevalKind kind : {LevalKind::kLetter, LevalKind::kLetters, LevalKind::kNumber,
                               LevalKind::kTopic, LevalKind::kTruth}) {
    EXPECT_EQ(leval_exact_match("", "A", kind), 0);
    EXPECT_EQ(leval_exact_match(" \n", "A", kind), 0);
  }
}

TEST(LevalAnswers, WhatIsExpectedMustSayIt) {
  EXPECT_EQ(leval_expected("(B) The second.", LevalKind::kLetter), "B");
  EXPECT_EQ(leval_expected("BA", LevalKind::kLetters), "AB");
  EXPECT_EQ(leval_expected("none", LevalKind::kLetter), "");
  EXPECT_EQ(leval_expected("", LevalKind::kLetters), "");
  EXPECT_EQ(leval_expected("False [fact: True]", LevalKind::kTruth), "false");
  EXPECT_EQ(leval_expected("Maybe [fact: True]", LevalKind::kTruth), "");
  EXPECT_EQ(leval_expected("many", LevalKind::kNumber), "");
  EXPECT_EQ(leval_expected(" A topic \n", LevalKind::kTopic), "A topic");
}

TEST(LongbenchScores, TheFirstLineFollowsLineEnds) {
  EXPECT_EQ(first_line("\n\nCity\nmore"), "City");
  EXPECT_EQ(first_line(" \nCity"), " ");
  EXPECT_EQ(first_line("\n"), "");
  EXPECT_EQ(first_line(""), "");
  EXPECT_EQ(paragraph_number("Paragraph x, Paragraph 31."), "31");
  EXPECT_EQ(paragraph_number("paragraph 3"), "");
}

TEST(PythonText, StripsAndSplitsAsPythonDoes) {
  EXPECT_EQ(python_strip("\u00a0\x1f a b\u3000\n"), "a b");
  EXPECT_EQ(python_strip(" \n"), "");
  EXPECT_EQ(python_split(" a\u2003b\x1c").size(), 2u);
  EXPECT_TRUE(python_split(" ").empty());
  EXPECT_EQ(split_at("", '.'), std::vector<std::string_view>{""});
  EXPECT_EQ(split_at("a..b", '.'), (std::vector<std::string_view>{"a", "", "b"}));
  EXPECT_EQ(find_numbers("a12b٣4 5"), (std::vector<std::string_view>{"12", "٣4", "5"}));
}

}  // namespace
}  // namespace chunkllm
