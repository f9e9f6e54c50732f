#include "text/tokenizer/pre_tokenizer.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <unicode/regex.h>
#include <unicode/unistr.h>

#include <memory>
#include <string>
#include <vector>

#include "base/random.h"

namespace chunkllm {
namespace {

using ::testing::ElementsAre;

std::vector<std::string> pieces(std::string_view text, PieceEnd piece_end = llama3_piece_end) {
  std::vector<std::string> list;
  for (size_t begin = 0; begin < text.size();) {
    const size_t end = piece_end(text, begin);
    if (end <= begin || end > text.size()) {
      ADD_FAILURE() << "piece [" << begin << ", " << end << ") of " << text;
      break;
    }
    list.emplace_back(text.substr(begin, end - begin));
    begin = end;
  }
  return list;
}

std::unique_ptr<icu::RegexPattern> compile(std::string_view expression) {
  // The engine's \s is narrower than the one meant.
  icu::UnicodeString regex = icu::UnicodeString::fromUTF8(std::string(expression));
  regex.findAndReplace(UNICODE_STRING_SIMPLE("[^\\s"), UNICODE_STRING_SIMPLE("[^\\p{White_Space}"));
  regex.findAndReplace(UNICODE_STRING_SIMPLE("\\s"), UNICODE_STRING_SIMPLE("\\p{White_Space}"));
  regex.findAndReplace(UNICODE_STRING_SIMPLE("\\S"), UNICODE_STRING_SIMPLE("\\P{White_Space}"));
  UErrorCode status = U_ZERO_ERROR;
  std::unique_ptr<icu::RegexPattern> compiled(icu::RegexPattern::compile(regex, 0, status));
  EXPECT_TRUE(U_SUCCESS(status)) << u_errorName(status);
  return compiled;
}

std::vector<std::string> pieces_by_regex(const std::string& text,
                                         const icu::RegexPattern& pattern) {
  UErrorCode status = U_ZERO_ERROR;
  const icu::UnicodeString input = icu::UnicodeString::fromUTF8(text);
  const std::unique_ptr<icu::RegexMatcher> matcher(pattern.matcher(input, status));
  std::vector<std::string> list;
  while (matcher->find(status) && U_SUCCESS(status)) {
    list.emplace_back();
    matcher->group(status).toUTF8String(list.back());
  }
  return list;
}

TEST(PreTokenizer, CutsEnglish) {
  EXPECT_THAT(pieces("Hello  world, it's 12345 o'clock!\n\n"),
              ElementsAre("Hello", " ", " world", ",", " it", "'s", " ", "123", "45", " o",
                          "'clock", "!\n\n"));
  EXPECT_THAT(pieces("IT'S we'LL I'\u017f x'vE"),
              ElementsAre("IT", "'S", " we", "'LL", " I", "'\u017f", " x", "'vE"));
}

TEST(PreTokenizer, WhiteSpaceKeepsItsLastCharacterForTheNextWord) {
  EXPECT_THAT(pieces("a   b"), ElementsAre("a", "  ", " b"));
  EXPECT_THAT(pieces("a   1"), ElementsAre("a", "  ", " ", "1"));
  EXPECT_THAT(pieces("a   "), ElementsAre("a", "   "));
  EXPECT_THAT(pieces(" \n \n  b"), ElementsAre(" \n \n", " ", " b"));
  EXPECT_THAT(pieces("a\u00a0\u3000b"), ElementsAre("a", "\u00a0", "\u3000b"));
}

TEST(PreTokenizer, AgreesWithARegexEngineOnRandomText) {
  const std::vector<std::string> alphabet = {
      " ",      " ",          "\n",     "\r",        "\t",
      "\v",     "'",          "'",      "s",         "S",
      "t",      "l",          "L",      "r",         "e",
      "V",      "m",          "d",      "a",         "Z",
      "1",      "9",          ".",      "!",         "\"",
      "_",      "é",          "ß",      "İ",         "ſ",
      "中",     "あ",         "\u0301", "\u00bd",    "\u2167",
      "\u0663", "—",          "…",      "”",         "😀",
      "𝐀",      "𝟏",          "€",      "\u00a0",    "\u2003",
      "\u2028", "\u0085",     "\u200b", "\ufeff",    std::string(1, '\0'),
      "\x1f",   "\U000e0001", "\u0378", "\U0010fffd"};
  struct Rule {
    std::string_view regex;
    PieceEnd piece_end;
  };
  const std::vector<Rule> rules = {{kGpt2Regex, gpt2_piece_end},
                                   {kLlama3Regex, llama3_piece_end},
                                   {kQwen2Regex, qwen2_piece_end},
                                   {R"(\p{N}|\P{N}+)", single_digit_piece_end},
                                   {R"(\p{N}+|\P{N}+)", digit_run_piece_end}};
  std::vector<std::unique_ptr<icu::RegexPattern>> patterns;
  for (const Rule& rule : rules) patterns.push_back(compile(rule.regex));
  Rng rng(7);
  for (int round = 0; round < 20000; ++round) {
    std::string text;
    for (int64_t n = rng.below(14); n >= 0; --n) {
      text += alphabet[static_cast<size_t>(rng.below(static_cast<int64_t>(alphabet.size())))];
    }
    for (size_t i = 0; i < rules.size(); ++i) {
      ASSERT_EQ(pieces(text, rules[i].piece_end), pieces_by_regex(text, *patterns[i]))
          << rules[i].regex << ": " << text;
    }
  }
}

TEST(PreTokenizer, LongRunsAreWalkedOnce) {
  for (const std::string unit : {" ", "\n", "a", "!", "é", " \n", " !"}) {
    std::string text;
    while (text.size() < 2000000) text += unit;
    for (const PieceEnd piece_end : {gpt2_piece_end, llama3_piece_end, digit_run_piece_end}) {
      size_t n_bytes = 0;
      for (const std::string& piece : pieces(text, piece_end)) n_bytes += piece.size();
      EXPECT_EQ(n_bytes, text.size());
    }
  }
}

TEST(PreTokenizer, OnlyKnownExpressionsAreFound) {
  EXPECT_EQ(find_pre_tokenizer(kGpt2Regex), &gpt2_piece_end);
  EXPECT_EQ(find_pre_tokenizer(kLlama3Regex), &llama3_piece_end);
  EXPECT_EQ(find_pre_tokenizer(kQwen2Regex), &qwen2_piece_end);
  EXPECT_EQ(find_pre_tokenizer(R"(\s+|\S+)"), nullptr);
}

}  // namespace
}  // namespace chunkllm
