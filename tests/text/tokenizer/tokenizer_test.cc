#include "text/tokenizer/tokenizer.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <string>
#include <thread>
#include <vector>

#include "base/error.h"
#include "base/random.h"
#include "small_tokenizer.h"
#include "text/utf8.h"

namespace chunkllm {
namespace {

using ::testing::ElementsAre;

constexpr int32_t kBos = 261;
constexpr int32_t kUser = 262;
constexpr int32_t kTool = 268;

std::vector<std::string> random_pieces() {
  return {"hello", " world", "he", "l",  " ",  "\n", "<|user|>", "<tool>", "<|us",
          "é",     "中",     "😀",  "12", "'s", "!",  "\t",       "  ",     "<|end_of_turn|>"};
}

std::string random_text(Rng& rng) {
  static const std::vector<std::string> pieces = random_pieces();
  std::string text;
  for (int64_t n = rng.below(20); n > 0; --n) {
    text += pieces[static_cast<size_t>(rng.below(std::ssize(pieces)))];
  }
  return text;
}

TEST(Tokenizer, MergesByRank) {
  const Tokenizer tokenizer = small_tokenizer();
  EXPECT_THAT(tokenizer.encode("hello"), ElementsAre(259));
  EXPECT_THAT(tokenizer.encode("hell world"), ElementsAre(258, 260, 'o', 'r', 'l', 'd'));
  EXPECT_THAT(tokenizer.encode("é"), ElementsAre(0xc3, 0xa9));
  EXPECT_THAT(tokenizer.encode(""), ElementsAre());
}

TEST(Tokenizer, PostProcessorOnlyOnRequest) {
  const Tokenizer tokenizer = small_tokenizer();
  EXPECT_THAT(tokenizer.encode("hello", {.add_special_tokens = true}), ElementsAre(kBos, 259));
  EXPECT_THAT(tokenizer.encode("", {.add_special_tokens = true}), ElementsAre(kBos));
}

TEST(Tokenizer, SpecialTokensInTextAreControlOnlyWhereParsed) {
  const Tokenizer tokenizer = small_tokenizer();
  EXPECT_THAT(tokenizer.encode("<|user|>hello"), ElementsAre(kUser, 259));
  const auto plain = tokenizer.encode("<|user|>hello", {.parse_special = false});
  for (const int32_t id : plain) EXPECT_FALSE(tokenizer.is_special(id));
  EXPECT_EQ(tokenizer.decode(plain), "<|user|>hello");
  // Added tokens that are not special are words like others.
  EXPECT_THAT(tokenizer.encode("<tool>", {.parse_special = false}), ElementsAre(kTool));
}

TEST(Tokenizer, DecodeGivesBackWhatWasEncoded) {
  const Tokenizer tokenizer = small_tokenizer();
  Rng rng(11);
  for (int round = 0; round < 3000; ++round) {
    const std::string text = random_text(rng);
    for (const bool parse_special : {true, false}) {
      ASSERT_EQ(tokenizer.decode(tokenizer.encode(text, {.parse_special = parse_special})), text);
    }
  }
}

TEST(Tokenizer, OffsetsTileTheTextAndAgreeWithEncode) {
  const Tokenizer tokenizer = small_tokenizer();
  Rng rng(12);
  for (int round = 0; round < 3000; ++round) {
    const std::string text = random_text(rng);
    const EncodeOptions options{.add_special_tokens = true};
    std::vector<int32_t> ids;
    int64_t end = 0;
    for (const TokenSpan& span : tokenizer.encode_with_offsets(text, options)) {
      ASSERT_EQ(span.begin, end);
      if (span.end > span.begin) {
        ASSERT_EQ(text.substr(span.begin, span.end - span.begin), tokenizer.token_bytes(span.id));
      }
      end = span.end;
      ids.push_back(span.id);
    }
    ASSERT_EQ(end, std::ssize(text));
    ASSERT_EQ(ids, tokenizer.encode(text, options));
  }
}

TEST(Tokenizer, SkipsSpecialTokensWhenDecoding) {
  const Tokenizer tokenizer = small_tokenizer();
  const std::vector<int32_t> ids = {kBos, 259, kTool, kUser};
  EXPECT_EQ(tokenizer.decode(ids), "<|begin_of_text|>hello<tool><|user|>");
  EXPECT_EQ(tokenizer.decode(ids, true), "hello<tool>");
}

TEST(Tokenizer, RefusesTextThatIsNoUtf8) {
  const Tokenizer tokenizer = small_tokenizer();
  try {
    tokenizer.encode("hello\xff");
    FAIL();
  } catch (const Error& error) {
    EXPECT_EQ(error.code(), ErrorCode::kData);
    EXPECT_THAT(error.what(), ::testing::HasSubstr("byte 5"));
  }
}

TEST(Tokenizer, RefusesIdsOutsideTheVocabulary) {
  const Tokenizer tokenizer = small_tokenizer();
  EXPECT_EQ(tokenizer.n_vocab(), 269);
  for (const int32_t id : {-1, 269, INT32_MAX, INT32_MIN}) {
    EXPECT_THROW(tokenizer.decode(std::vector<int32_t>{id}), Error);
    EXPECT_THROW(tokenizer.token_bytes(id), Error);
    EXPECT_THROW(tokenizer.is_special(id), Error);
  }
}

TEST(Tokenizer, KnowsItsSpecialTokens) {
  const Tokenizer tokenizer = small_tokenizer();
  EXPECT_THAT(tokenizer.special_ids(), ElementsAre(261, 262, 263, 264, 265, 266, 267));
  EXPECT_EQ(tokenizer.find_token("<|user|>"), kUser);
  EXPECT_EQ(tokenizer.find_token("<tool>"), kTool);
  EXPECT_EQ(tokenizer.find_token("hello"), std::nullopt);
  EXPECT_FALSE(tokenizer.is_special(kTool));
  EXPECT_EQ(tokenizer.bos_id(), std::nullopt);  // without tokenizer_config.json
}

TEST(Tokenizer, IgnoreMergesTakesAWholePieceAsItIs) {
  nlohmann::json json = small_tokenizer_json();
  json["model"]["vocab"]["zebra"] = 300;
  EXPECT_THAT(make_tokenizer(json).encode("zebra"), ElementsAre('z', 'e', 'b', 'r', 'a'));
  json["model"]["ignore_merges"] = true;
  EXPECT_THAT(make_tokenizer(json).encode("zebra"), ElementsAre(300));
  EXPECT_THAT(make_tokenizer(json).encode("zebras hello"),
              ElementsAre('z', 'e', 'b', 'r', 'a', 's', ' ', 259));
}

TEST(Tokenizer, IgnoreMergesNeverMakesASpecialTokenOfPlainText) {
  nlohmann::json json = small_tokenizer_json();
  json["model"]["ignore_merges"] = true;
  json["model"]["vocab"]["pad"] = 300;
  json["added_tokens"].push_back(added_token(300, "pad"));
  const Tokenizer tokenizer = make_tokenizer(json);
  EXPECT_THAT(tokenizer.encode("pad"), ElementsAre(300));
  EXPECT_THAT(tokenizer.encode("pad", {.parse_special = false}), ElementsAre('p', 'a', 'd'));
}

TEST(Tokenizer, AddedTokensTakeTheLongestAtTheLeftmost) {
  nlohmann::json json = small_tokenizer_json();
  json["added_tokens"].push_back(added_token(300, "<a>"));
  json["added_tokens"].push_back(added_token(301, "<a><b>"));
  const Tokenizer tokenizer = make_tokenizer(json);
  EXPECT_THAT(tokenizer.encode("<a><b><a>x"), ElementsAre(301, 300, 'x'));
}

TEST(Tokenizer, AddedTokenFlags) {
  nlohmann::json json = small_tokenizer_json();
  nlohmann::json strip = added_token(300, "<m>");
  strip["lstrip"] = true;
  strip["rstrip"] = true;
  nlohmann::json word = added_token(301, "cat");
  word["single_word"] = true;
  nlohmann::json normalized = added_token(302, "<n><m>");
  normalized["normalized"] = true;
  for (const auto& token : {strip, word, normalized}) json["added_tokens"].push_back(token);
  const Tokenizer tokenizer = make_tokenizer(json);
  EXPECT_THAT(tokenizer.encode("a \n<m>\u3000 b"), ElementsAre('a', 300, 'b'));
  const auto spans = tokenizer.encode_with_offsets("a <m>  b");
  ASSERT_EQ(spans.size(), 3u);
  EXPECT_EQ(spans[1].begin, 1);
  EXPECT_EQ(spans[1].end, 7);
  EXPECT_THAT(tokenizer.encode("cat,cat"), ElementsAre(301, ',', 301));
  EXPECT_THAT(tokenizer.encode("cats"), ElementsAre('c', 'a', 't', 's'));
  EXPECT_THAT(tokenizer.encode("écat"), ElementsAre(0xc3, 0xa9, 'c', 'a', 't'));
  // Tokens that are not normalized are found first, though this one begins later.
  EXPECT_THAT(tokenizer.encode("<n><m>"), ElementsAre('<', 'n', '>', 300));
}

TEST(Tokenizer, ThreadsAndCopiesShareOneTokenizer) {
  const Tokenizer tokenizer = small_tokenizer();
  Rng rng(13);
  std::string text;
  for (int i = 0; i < 2000; ++i) text += random_text(rng);
  const std::vector<int32_t> expected = tokenizer.encode(text);
  std::vector<std::vector<int32_t>> results(4);
  std::vector<std::thread> threads;
  for (auto& result : results) {
    threads.emplace_back([&result, &text, copy = tokenizer] { result = copy.encode(text); });
  }
  for (std::thread& thread : threads) thread.join();
  for (const auto& result : results) EXPECT_EQ(result, expected);
}

TEST(StreamDecoder, PiecesAreValidAndAddUpToTheWhole) {
  const Tokenizer tokenizer = small_tokenizer();
  Rng rng(14);
  for (int round = 0; round < 5000; ++round) {
    std::vector<int32_t> ids(static_cast<size_t>(rng.below(16)));
    for (int32_t& id : ids) {
      // Half of them bytes of characters beyond ASCII, so that sequences begin, end and break.
      id = static_cast<int32_t>(rng.below(2) == 0 ? 0x80 + rng.below(128) : rng.below(269));
    }
    for (const bool skip_special : {true, false}) {
      StreamDecoder decoder(tokenizer, skip_special);
      std::string text;
      for (const int32_t id : ids) {
        const std::string piece = decoder.push(id);
        ASSERT_EQ(find_invalid_utf8(piece), std::nullopt);
        text += piece;
      }
      const std::string rest = decoder.finish();
      ASSERT_EQ(find_invalid_utf8(rest), std::nullopt);
      ASSERT_EQ(text + rest, tokenizer.decode(ids, skip_special));
      ASSERT_EQ(decoder.finish(), "");
    }
  }
}

TEST(StreamDecoder, WaitsForTheRestOfACharacter) {
  StreamDecoder decoder(small_tokenizer());
  EXPECT_EQ(decoder.push(0xf0), "");
  EXPECT_EQ(decoder.push(0x9f), "");
  EXPECT_EQ(decoder.push(0x98), "");
  EXPECT_EQ(decoder.push(0x80), "😀");
  EXPECT_EQ(decoder.push('a'), "a");
}

}  // namespace
}  // namespace chunkllm
