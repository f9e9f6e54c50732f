#include "text/utf8.h"

#include <gtest/gtest.h>
#include <unicode/unistr.h>

#include <algorithm>
#include <optional>
#include <string>

#include "base/random.h"
#include "text/tokenizer/byte_level.h"
#include "text/tokenizer/tokenizer.h"

namespace chunkllm {
namespace {

const std::string kReplacement = "\xef\xbf\xbd";

std::string lossy(std::string_view bytes) {
  std::string text;
  EXPECT_EQ(append_lossy(bytes, true, text), bytes.size());
  return text;
}

TEST(Utf8, EveryCodePointIsReadBothWays) {
  for (UChar32 c = 0; c <= 0x10ffff; ++c) {
    if (U_IS_SURROGATE(c)) continue;
    std::string text;
    icu::UnicodeString(c).toUTF8String(text);
    ASSERT_EQ(find_invalid_utf8(text), std::nullopt);
    std::string written;
    append_utf8(written, static_cast<char32_t>(c));
    ASSERT_EQ(written, text);
    ASSERT_EQ(std::ranges::count_if(text, begins_character), 1);
    const std::string around = "é" + text;
    ASSERT_EQ(code_point_at(around, 2).value, static_cast<char32_t>(c));
    ASSERT_EQ(code_point_before(around, around.size()).value, static_cast<char32_t>(c));
    ASSERT_EQ(code_point_before(around, around.size()).n_bytes, text.size());
  }
}

TEST(Utf8, FindsTheFirstInvalidByte) {
  EXPECT_EQ(find_invalid_utf8(""), std::nullopt);
  EXPECT_EQ(find_invalid_utf8("0123456789 plain"), std::nullopt);
  EXPECT_EQ(find_invalid_utf8("0123456789\xff"), 10u);
  EXPECT_EQ(find_invalid_utf8("é\xc3"), 2u);             // cut off
  EXPECT_EQ(find_invalid_utf8("\xc0\x80"), 0u);          // overlong
  EXPECT_EQ(find_invalid_utf8("\xe0\x9f\xbf"), 0u);      // overlong
  EXPECT_EQ(find_invalid_utf8("ab\xed\xa0\x80"), 2u);    // a surrogate
  EXPECT_EQ(find_invalid_utf8("\xf4\x90\x80\x80"), 0u);  // above U+10FFFF
}

TEST(Utf8, BrokenSequencesBecomeOneReplacementForEachMaximalSubpart) {
  EXPECT_EQ(lossy("a\xf0\x9f\x98z"), "a" + kReplacement + "z");
  EXPECT_EQ(lossy("\xf0\x9f"), kReplacement);
  EXPECT_EQ(lossy("\xed\xa0\x80"), kReplacement + kReplacement + kReplacement);
  EXPECT_EQ(lossy("\xe2\x82\xe2\x82\xac"), kReplacement + "€");
  EXPECT_EQ(lossy("\x80\xff"), kReplacement + kReplacement);
}

TEST(Utf8, LossyTextAgreesWithIcuOnRandomBytes) {
  Rng rng(1);
  for (int round = 0; round < 20000; ++round) {
    std::string bytes;
    for (int64_t n = rng.below(12); n >= 0; --n) {
      // Mostly lead and continuation bytes, so that sequences get long before they break.
      bytes.push_back(
          static_cast<char>(rng.below(3) == 0 ? rng.below(256) : 0x80 + rng.below(128)));
    }
    std::string expected;
    // ICU's decoder, like the web's, puts one replacement for each maximal subpart.
    icu::UnicodeString::fromUTF8(bytes).toUTF8String(expected);
    ASSERT_EQ(lossy(bytes), expected);
    ASSERT_EQ(find_invalid_utf8(bytes).has_value(), expected != bytes);
  }
}

// However random bytes are cut in two, reading on with what was left gives the same text.
TEST(Utf8, TextThatEndsInsideACharacterIsReadOnLater) {
  Rng rng(2);
  for (int round = 0; round < 20000; ++round) {
    std::string bytes;
    for (int64_t n = rng.below(12); n >= 0; --n) {
      bytes.push_back(static_cast<char>(0x80 + rng.below(128)));
    }
    const auto cut = static_cast<size_t>(rng.below(std::ssize(bytes) + 1));
    std::string text;
    const size_t used = append_lossy(std::string_view(bytes).substr(0, cut), false, text);
    ASSERT_LE(used, cut);
    ASSERT_LE(cut - used, 3u);
    text += lossy(std::string_view(bytes).substr(used));
    ASSERT_EQ(text, lossy(bytes));
  }
}

TEST(Utf8, BytesAreLeftOnlyWhereTheyCanBecomeACharacter) {
  const auto used = [](std::string_view bytes) {
    std::string text;
    return append_lossy(bytes, false, text);
  };
  EXPECT_EQ(used(""), 0u);
  EXPECT_EQ(used("\xc3"), 0u);
  EXPECT_EQ(used("\x80"), 1u);
  EXPECT_EQ(used("\xff"), 1u);
  EXPECT_EQ(used("\xc1"), 1u);  // would be overlong
  EXPECT_EQ(used("a\xf0\x9f\x98"), 1u);
  EXPECT_EQ(used("a\xf0\x8f"), 3u);  // would be overlong
  EXPECT_EQ(used("a\xed\xa0"), 3u);  // would be a surrogate
  EXPECT_EQ(used("a\xf4\x90"), 3u);  // would be above U+10FFFF
  EXPECT_EQ(used("a\xe2\x82\xac"), 4u);
}

TEST(Utf8, WhatIsNoCharacterIsWrittenAsAReplacement) {
  for (const char32_t c : {0xd800u, 0xdfffu, 0x110000u, 0xffffffffu}) {
    std::string text;
    append_utf8(text, c);
    EXPECT_EQ(text, kReplacement);
  }
}

TEST(Utf8, LowerCaseIsFull) {
  EXPECT_EQ(lower_case("ΟΔΟΣ ΣΑ É x1-Y"), "οδος σα é x1-y");
  EXPECT_EQ(lower_case("A\xff"
                       "B"),
            "a" + kReplacement + "b");
  EXPECT_EQ(lower_case(""), "");
}

TEST(ByteLevel, SymbolsAreDistinctAndGoBackToTheirBytes) {
  std::string all_symbols;
  std::string all_bytes;
  for (int byte = 0; byte < 256; ++byte) {
    const std::string symbol = byte_symbol_utf8(static_cast<uint8_t>(byte));
    ASSERT_EQ(symbols_to_bytes(symbol), std::string(1, static_cast<char>(byte)));
    ASSERT_EQ(code_point_at(symbol, 0).value, byte_symbol(static_cast<uint8_t>(byte)));
    all_symbols += symbol;
    all_bytes.push_back(static_cast<char>(byte));
  }
  EXPECT_EQ(symbols_to_bytes(all_symbols), all_bytes);
  EXPECT_EQ(byte_symbol_utf8(' '), "Ġ");
  EXPECT_EQ(byte_symbol_utf8('\n'), "Ċ");
  EXPECT_EQ(symbols_to_bytes("a b"), std::nullopt);
  EXPECT_EQ(symbols_to_bytes("中"), std::nullopt);
}

}  // namespace
}  // namespace chunkllm
