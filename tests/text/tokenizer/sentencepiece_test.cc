// Vocabularies written in characters: marks for spaces, bytes for what has no token, decoding.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <string>
#include <vector>

#include "base/error.h"
#include "base/random.h"
#include "small_tokenizer.h"
#include "text/utf8.h"

namespace chunkllm {
namespace {

using nlohmann::json;
using ::testing::ElementsAre;

constexpr int32_t kMark = 259;
constexpr int32_t kHello = 269;
constexpr int32_t kMarkHello = 270;
constexpr int32_t kTwoMarks = 271;

int32_t byte_id(int byte) { return 3 + byte; }

TEST(SentencePiece, SpacesAreMarksAndUnknownCharactersBytes) {
  const Tokenizer tokenizer = make_tokenizer(small_sentencepiece_json());
  EXPECT_THAT(tokenizer.encode("hello hello"), ElementsAre(kMarkHello, kMarkHello));
  EXPECT_THAT(tokenizer.encode("hello  hello"), ElementsAre(kMarkHello, kMark, kMarkHello));
  EXPECT_THAT(tokenizer.encode("  "), ElementsAre(kTwoMarks, kMark));
  EXPECT_THAT(tokenizer.encode("é"), ElementsAre(kMark, byte_id(0xc3), byte_id(0xa9)));
  EXPECT_THAT(tokenizer.encode(""), ElementsAre());
  // Each text between added tokens begins with a mark of its own.
  EXPECT_THAT(tokenizer.encode("hello</s>hello"), ElementsAre(kMarkHello, 2, kMarkHello));
}

// Gemma's tokenizer.json: spaces are marks when the pre-tokenizer would split by them.
TEST(SentencePiece, ASplitByWhatIsReplacedSplitsNothing) {
  json j = small_sentencepiece_json();
  j["pre_tokenizer"] = {{"type", "Split"},
                        {"pattern", {{"String", " "}}},
                        {"behavior", "MergedWithPrevious"},
                        {"invert", false}};
  EXPECT_THAT(make_tokenizer(j).encode("hello  hello"), ElementsAre(kMarkHello, kMark, kMarkHello));
  j["normalizer"] = {{"type", "Prepend"}, {"prepend", "\u2581"}};
  EXPECT_THROW(make_tokenizer(j), Error) << "here it would";
}

TEST(SentencePiece, UnknownCharactersAreOneTokenWhereTheyAreFused) {
  json j = small_sentencepiece_json();
  j["model"]["byte_fallback"] = false;
  EXPECT_THAT(make_tokenizer(j).encode("hello xyz"), ElementsAre(kMarkHello, kMark, 0));
  const auto spans = make_tokenizer(j).encode_with_offsets("hello éz");
  ASSERT_EQ(spans.size(), 3u);
  EXPECT_EQ(spans[2].begin, 6);
  EXPECT_EQ(spans[2].end, 9);
  j["model"]["fuse_unk"] = false;
  EXPECT_THAT(make_tokenizer(j).encode("xyz"), ElementsAre(kMark, 0, 0, 0));
}

TEST(SentencePiece, MetaspacePutsAMarkWhereItsSchemeSays) {
  json j = small_sentencepiece_json();
  j["normalizer"] = nullptr;
  const auto encode = [&](const char* scheme, bool split, const std::string& text) {
    j["pre_tokenizer"] = {{"type", "Metaspace"},
                          {"replacement", "\u2581"},
                          {"prepend_scheme", scheme},
                          {"split", split}};
    return make_tokenizer(j).encode(text);
  };
  EXPECT_THAT(encode("always", false, "hello</s>hello"), ElementsAre(kMarkHello, 2, kMarkHello));
  EXPECT_THAT(encode("first", false, "hello</s>hello"), ElementsAre(kMarkHello, 2, kHello));
  EXPECT_THAT(encode("first", false, "</s>hello"), ElementsAre(2, kHello));
  EXPECT_THAT(encode("never", false, "hello hello"), ElementsAre(kHello, kMarkHello));
  // A mark that is there already is enough.
  EXPECT_THAT(encode("always", false, " hello"), ElementsAre(kMarkHello));
  EXPECT_THAT(encode("always", false, "   "), ElementsAre(kTwoMarks, kMark));
  EXPECT_THAT(encode("always", true, "   "), ElementsAre(kMark, kMark, kMark));
}

TEST(SentencePiece, DecodingDropsTheFirstSpaceOnly) {
  const Tokenizer tokenizer = make_tokenizer(small_sentencepiece_json());
  EXPECT_EQ(tokenizer.decode(std::vector<int32_t>{kMarkHello, kMarkHello}), "hello hello");
  EXPECT_EQ(tokenizer.decode(std::vector<int32_t>{kTwoMarks, kHello}), " hello");
  EXPECT_EQ(tokenizer.decode(std::vector<int32_t>{1, kMarkHello}), "<s> hello");
  EXPECT_EQ(tokenizer.decode(std::vector<int32_t>{1, kMarkHello}, true), "hello");
  json j = small_sentencepiece_json();
  j["decoder"] = {{"type", "Metaspace"}, {"replacement", "\u2581"}};
  EXPECT_EQ(make_tokenizer(j).decode(std::vector<int32_t>{kTwoMarks, kMarkHello}), " hello");
}

TEST(SentencePiece, AStreamGivesWhatDecodeGives) {
  const Tokenizer tokenizer = make_tokenizer(small_sentencepiece_json());
  Rng rng(21);
  for (int round = 0; round < 5000; ++round) {
    std::vector<int32_t> ids(static_cast<size_t>(rng.below(10)));
    for (int32_t& id : ids) {
      id = static_cast<int32_t>(rng.below(2) == 0 ? rng.below(272) : 255 + rng.below(17));
    }
    for (const bool skip_special : {true, false}) {
      StreamDecoder decoder(tokenizer, skip_special);
      std::string text;
      for (const int32_t id : ids) {
        text += decoder.push(id);
        ASSERT_EQ(find_invalid_utf8(text), std::nullopt);
      }
      ASSERT_EQ(text + decoder.finish(), tokenizer.decode(ids, skip_special));
    }
  }
}

// Cutting at marks must not change what BPE makes of the whole: a vocabulary in which nothing is
// cut, for its mark is another, gives the same.
TEST(SentencePiece, CutsBetweenWordsChangeNothing) {
  const Tokenizer tokenizer = make_tokenizer(small_sentencepiece_json());
  json uncut = small_sentencepiece_json();
  uncut["normalizer"] = nullptr;
  uncut["pre_tokenizer"] = {{"type", "Metaspace"}, {"replacement", "e"}, {"split", false}};
  uncut["pre_tokenizer"]["prepend_scheme"] = "never";
  const Tokenizer whole = make_tokenizer(uncut);
  Rng rng(22);
  const std::vector<std::string> parts = {"hello", "\u2581", "\u2581", "l", "he", "x"};
  for (int round = 0; round < 3000; ++round) {
    std::string text = "\u2581";
    for (int64_t n = rng.below(12); n >= 0; --n) {
      text += parts[static_cast<size_t>(rng.below(std::ssize(parts)))];
    }
    ASSERT_EQ(tokenizer.encode(text.substr(3)), whole.encode(text)) << text;
  }
}

TEST(SentencePiece, LongTextsWithoutWordsEnd) {
  const Tokenizer tokenizer = make_tokenizer(small_sentencepiece_json());
  for (const std::string unit : {"l", " ", "x", "é", "hello"}) {
    std::string text;
    while (text.size() < 1000000) text += unit;
    EXPECT_EQ(tokenizer.decode(tokenizer.encode(text)), text);
  }
}

TEST(Normalizer, NfcComposesAndOffsetsLeadBack) {
  json j = small_tokenizer_json();
  j["normalizer"] = {{"type", "NFC"}};
  const Tokenizer tokenizer = make_tokenizer(j);
  const std::string text = "hello e\u0301!";
  EXPECT_EQ(tokenizer.encode(text), tokenizer.encode("hello \u00e9!"));
  const auto spans = tokenizer.encode_with_offsets(text);
  ASSERT_EQ(spans.size(), 5u);                // hello, the space, two bytes, !
  EXPECT_EQ(spans[3].begin, spans[2].begin);  // the second byte has the whole character
  EXPECT_EQ(spans[3].end, 9);
  EXPECT_EQ(spans[4].end, 10);
}

TEST(Normalizer, EndlessMarksAreRefused) {
  json j = small_tokenizer_json();
  j["normalizer"] = {{"type", "NFC"}};
  const Tokenizer tokenizer = make_tokenizer(j);
  std::string text = "a";
  for (int i = 0; i < 5000; ++i) text += "\u0301\u0323";
  EXPECT_THROW(tokenizer.encode(text), Error);
}

TEST(Tokenizer, BytesWithoutATokenAreLeftOut) {
  json j = small_tokenizer_json();
  j["model"]["vocab"].erase("A");
  const Tokenizer tokenizer = make_tokenizer(j);
  EXPECT_THAT(tokenizer.encode("hAelAlAo"), ElementsAre(259));
  const auto spans = tokenizer.encode_with_offsets("xAy zA");
  ASSERT_EQ(spans.size(), 4u);
  EXPECT_EQ(spans[1].begin, 1);
  EXPECT_EQ(spans[1].end, 3);
  EXPECT_EQ(spans.back().end, 6);
  EXPECT_THAT(tokenizer.encode("A"), ElementsAre());
}

}  // namespace
}  // namespace chunkllm
