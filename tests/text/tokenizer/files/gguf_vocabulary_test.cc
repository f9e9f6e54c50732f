#include "text/tokenizer/files/gguf_vocabulary.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cstdlib>
#include <fstream>
#include <iostream>
#include <limits>
#include <set>

#include "base/error.h"
#include "base/random.h"
#include "testing/expect_error.h"
#include "text/tokenizer/small_tokenizer.h"

namespace chunkllm {
namespace {

constexpr int64_t kVocab = 270;

// The small tokenizer in a folder, changed.
class GgufVocabularyTest : public testing::Test {
 protected:
  GgufVocabulary vocabulary_of(const nlohmann::json& tokenizer) {
    folder_.write("tokenizer.json", tokenizer.dump());
    return read_gguf_vocabulary(folder_.path(), kVocab);
  }
  void expect_refused(const std::string& part, const GgufVocabulary& vocabulary,
                      ErrorCode code = ErrorCode::kData) {
    expect_error(code, part, [&] { Tokenizer::from_gguf(vocabulary); });
  }
  const TemporaryFolder folder_;
};

const char* const kText = "hello  world, he'll say 12345 times <s> hell\n\n o\u00e9 <x> !";

TEST_F(GgufVocabularyTest, SpeaksAsTheTokenizerItWasMadeOf) {
  nlohmann::json small = small_tokenizer_json();
  small["added_tokens"] = {added_token(261, "<s>"), added_token(262, "<x>", false)};
  const GgufVocabulary vocabulary = vocabulary_of(small);
  const Tokenizer expected = Tokenizer::from_folder(folder_.path());
  const Tokenizer actual = Tokenizer::from_gguf(vocabulary);
  for (const bool special : {false, true}) {
    const EncodeOptions options{.add_special_tokens = special, .parse_special = special};
    const std::vector<int32_t> ids = expected.encode(kText, options);
    EXPECT_EQ(actual.encode(kText, options), ids);
    EXPECT_EQ(actual.decode(ids), expected.decode(ids));
  }
  EXPECT_EQ(actual.special_ids(), expected.special_ids());
  EXPECT_EQ(vocabulary.tokens.size(), static_cast<size_t>(kVocab));
  EXPECT_EQ(vocabulary.token_types[261], 3);
  EXPECT_EQ(vocabulary.token_types[262], 4);
  EXPECT_EQ(vocabulary.token_types[263], 5) << "padding";
  expect_error(ErrorCode::kData, "has no token 265",
               [&] { actual.decode(std::vector<int32_t>{265}); });
}

TEST_F(GgufVocabularyTest, WhatGgufCannotSayIsRefused) {
  const auto refuse = [&](const char* part, const std::function<void(nlohmann::json&)>& change) {
    nlohmann::json tokenizer = small_tokenizer_json();
    change(tokenizer);
    SCOPED_TRACE(part);
    expect_error(ErrorCode::kUnsupported, part, [&] { vocabulary_of(tokenizer); });
  };
  refuse("lstrip", [](auto& t) {
    t["added_tokens"] = nlohmann::json::array({added_token(261, "<s>")});
    t["added_tokens"][0]["lstrip"] = true;
  });
  refuse("normalizer", [](auto& t) {
    t["normalizer"] = {{"type", "Replace"}, {"pattern", {{"String", "a"}}}, {"content", "b"}};
  });
  folder_.write("tokenizer.json", small_tokenizer_json().dump());
  expect_error(ErrorCode::kData, "tokens, and the model's vocabulary",
               [&] { read_gguf_vocabulary(folder_.path(), 200); });
}

TEST_F(GgufVocabularyTest, LyingVocabulariesAreRefused) {
  const GgufVocabulary sound = vocabulary_of(small_tokenizer_json());
  const auto spoilt = [&](const std::function<void(GgufVocabulary&)>& spoil) {
    GgufVocabulary vocabulary = sound;
    spoil(vocabulary);
    return vocabulary;
  };
  const auto refuse = [&](const char* part, const std::function<void(GgufVocabulary&)>& spoil,
                          ErrorCode code = ErrorCode::kData) {
    SCOPED_TRACE(part);
    expect_refused(part, spoilt(spoil), code);
  };
  refuse(
      "tokenizer.ggml.model", [](auto& v) { v.model = "bert"; }, ErrorCode::kUnsupported);
  refuse("scores", [](auto& v) { v.model = "llama"; });
  refuse(
      "tokenizer.ggml.pre", [](auto& v) { v.pre = "tekken"; }, ErrorCode::kUnsupported);
  refuse("types", [](auto& v) { v.token_types.pop_back(); });
  refuse("token_type[3] is 9", [](auto& v) { v.token_types[3] = 9; });
  refuse("not valid UTF-8", [](auto& v) { v.tokens[7] = "\xff"; });
  refuse("two tokens are", [](auto& v) { v.tokens[7] = v.tokens[8]; });
  refuse("merges[0]", [](auto& v) { v.merges[0] = "abc"; });
  refuse("merges[0]", [](auto& v) { v.merges[0] = "\u4e2d \u6587"; });
  refuse("bos_token_id", [](auto& v) { v.bos_token_id.reset(); });
  refuse("which no token has", [](auto& v) {
    v.add_bos_token = true;
    v.bos_token_id = 100000;
  });
  refuse("content is empty", [](auto& v) {
    v.tokens[261] = "";
    v.token_types[261] = 3;
  });
}

// Bytes, the letters a to c, the mark, tokens of those with random scores, and added ones.
GgufVocabulary sentencepiece_vocabulary(Rng& rng) {
  GgufVocabulary vocabulary;
  vocabulary.file = "here";
  vocabulary.model = "llama";
  vocabulary.bos_token_id = 1;
  vocabulary.eos_token_id = 2;
  const auto add = [&](const std::string& text, GgufTokenType type, float score) {
    vocabulary.tokens.push_back(text);
    vocabulary.token_types.push_back(static_cast<int32_t>(type));
    vocabulary.scores.push_back(score);
  };
  add("<unk>", GgufTokenType::kUnknown, 0);
  add("<s>", GgufTokenType::kControl, 0);
  add("</s>", GgufTokenType::kControl, 0);
  for (int byte = 0; byte < 256; ++byte) {
    add(fmt::format("<0x{:02X}>", byte), GgufTokenType::kByte, 0);
  }
  add("\n\n", GgufTokenType::kUserDefined, -1000);
  const std::vector<std::string> letters{"a", "b", "c", "\u2581"};
  std::set<std::string> texts(letters.begin(), letters.end());
  while (texts.size() < 60) {
    std::string text;
    const int64_t n = 2 + rng.below(3);
    for (int64_t i = 0; i < n; ++i) text += letters[static_cast<size_t>(rng.below(4))];
    texts.insert(text);
  }
  // Scores repeat: then the leftmost pair goes first.
  for (const std::string& text : texts) {
    add(text, GgufTokenType::kNormal, -static_cast<float>(rng.below(1000)));
  }
  return vocabulary;
}

// SentencePiece's rule, word for word.
std::vector<int32_t> merged_by_score(const GgufVocabulary& vocabulary,
                                     std::vector<std::string> symbols) {
  const auto find = [&](const std::string& text) {
    const auto found = std::ranges::find(vocabulary.tokens, text);
    return found == vocabulary.tokens.end()
               ? -1
               : static_cast<int32_t>(found - vocabulary.tokens.begin());
  };
  while (true) {
    size_t best = symbols.size();
    float best_score = 0;
    for (size_t i = 0; i + 1 < symbols.size(); ++i) {
      const int32_t id = find(symbols[i] + symbols[i + 1]);
      if (id < 0) continue;
      const float score = vocabulary.scores[static_cast<size_t>(id)];
      if (best < symbols.size() && score <= best_score) continue;
      best = i;
      best_score = score;
    }
    if (best == symbols.size()) break;
    symbols[best] += symbols[best + 1];
    symbols.erase(symbols.begin() + static_cast<ptrdiff_t>(best) + 1);
  }
  std::vector<int32_t> ids;
  for (const std::string& symbol : symbols) ids.push_back(find(symbol));
  return ids;
}

TEST(SentencePieceVocabulary, MergesByScore) {
  Rng rng(5);
  GgufVocabulary vocabulary = sentencepiece_vocabulary(rng);
  vocabulary.add_space_prefix = false;
  // Scores of different tokens that are equal are a matter of places, which ranks do not have.
  for (size_t id = 0; id < vocabulary.scores.size(); ++id) {
    vocabulary.scores[id] -= static_cast<float>(id) / 1024;
  }
  const Tokenizer tokenizer = Tokenizer::from_gguf(vocabulary);
  for (int round = 0; round < 400; ++round) {
    std::vector<std::string> symbols;
    std::string text;
    const int64_t n = 1 + rng.below(round < 300 ? 12 : 200);
    for (int64_t i = 0; i < n; ++i) {
      const int64_t letter = rng.below(4);
      symbols.push_back(letter < 3 ? std::string(1, static_cast<char>('a' + letter)) : "\u2581");
      text += letter < 3 ? symbols.back() : " ";
    }
    const std::vector<int32_t> ids = tokenizer.encode(text);
    ASSERT_EQ(ids, merged_by_score(vocabulary, symbols)) << text;
    ASSERT_EQ(tokenizer.decode(ids), text);
  }
  const std::vector<int32_t> ids = tokenizer.encode("a\n\n\u00e9</s>", {.parse_special = false});
  EXPECT_EQ(tokenizer.decode(ids), "a\n\n\u00e9</s>");
  EXPECT_EQ(ids[1], 259) << "user-defined tokens are found in any text";
  EXPECT_EQ(std::ranges::count(ids, 2), 0) << "and control tokens are not";
}

TEST(SentencePieceVocabulary, TextsBeginAsTheFileSays) {
  Rng rng(6);
  GgufVocabulary vocabulary = sentencepiece_vocabulary(rng);
  const auto first_of = [](const GgufVocabulary& v) {
    return std::string(Tokenizer::from_gguf(v).token_bytes(Tokenizer::from_gguf(v).encode("a")[0]));
  };
  EXPECT_EQ(first_of(vocabulary).front(), ' ') << "unless it says otherwise";
  EXPECT_EQ(Tokenizer::from_gguf(vocabulary).decode(Tokenizer::from_gguf(vocabulary).encode("a")),
            "a");
  const EncodeOptions special{.add_special_tokens = true};
  EXPECT_EQ(Tokenizer::from_gguf(vocabulary).encode("a", special).front(), 1);
  vocabulary.add_space_prefix = false;
  EXPECT_EQ(first_of(vocabulary), "a");
  vocabulary.add_bos_token = false;
  EXPECT_NE(Tokenizer::from_gguf(vocabulary).encode("a", special).front(), 1);
  vocabulary.scores[3] = std::numeric_limits<float>::quiet_NaN();
  expect_error(ErrorCode::kData, "not finite", [&] { Tokenizer::from_gguf(vocabulary); });
}

std::filesystem::path fixtures() {
  const char* folder = std::getenv("CHUNKLLM_FIXTURES");
  return folder != nullptr ? folder : CHUNKLLM_SOURCE_DIR "/../shared/fixtures";
}

// Every byte-level tokenizer of the fixtures, with the texts of its golden cases.
TEST(GoldenGgufVocabulary, GivesTheSameTokens) {
  int64_t n_texts = 0;
  std::error_code error;
  for (const auto& entry : std::filesystem::directory_iterator(fixtures() / "tokenizers", error)) {
    SCOPED_TRACE(entry.path());
    const Tokenizer expected = Tokenizer::from_folder(entry.path());
    GgufVocabulary vocabulary;
    try {
      vocabulary = read_gguf_vocabulary(entry.path(), expected.n_vocab() + 64);
    } catch (const Error& refusal) {
      EXPECT_EQ(refusal.code(), ErrorCode::kUnsupported) << refusal.what();
      std::cout << entry.path().filename().string() << ": " << refusal.what() << '\n';
      continue;
    }
    std::cout << entry.path().filename().string() << ": " << vocabulary.pre << '\n';
    const Tokenizer actual = Tokenizer::from_gguf(vocabulary);
    std::ifstream cases(entry.path() / "cases.jsonl");
    for (std::string line; std::getline(cases, line); ++n_texts) {
      const std::string text = nlohmann::json::parse(line)["text"];
      for (const bool special : {false, true}) {
        const EncodeOptions options{.add_special_tokens = special};
        const std::vector<int32_t> ids = expected.encode(text, options);
        ASSERT_EQ(actual.encode(text, options), ids) << text;
        ASSERT_EQ(actual.decode(ids), expected.decode(ids));
      }
    }
  }
  if (n_texts == 0) GTEST_SKIP() << "no tokenizers in " << fixtures();
}

}  // namespace
}  // namespace chunkllm
