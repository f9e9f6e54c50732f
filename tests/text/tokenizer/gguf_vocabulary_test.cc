#include "text/tokenizer/gguf_vocabulary.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cstdlib>
#include <fstream>
#include <iostream>

#include "base/error.h"
#include "small_tokenizer.h"
#include "testing/expect_error.h"

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
      "tokenizer.ggml.model", [](auto& v) { v.model = "llama"; }, ErrorCode::kUnsupported);
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
