// Added tokens that only tokenizer_config.json or added_tokens.json knows. What is expected is what
// transformers 5.24 does.

#include <gtest/gtest.h>

#include "testing/expect_error.h"
#include "text/tokenizer/small_tokenizer.h"

namespace chunkllm {
namespace {

using nlohmann::json;
using Ids = std::vector<int32_t>;

constexpr int32_t kNext = 261;  // the first id that is free

json flags(const std::string& content, bool special = true) {
  json token = added_token(0, content, special);
  token.erase("id");
  return token;
}

// The small tokenizer, without added tokens, in a folder with another file.
class Folder {
 public:
  Folder() {
    root_ = small_tokenizer_json();
    root_["added_tokens"] = json::array();
    write("tokenizer.json", root_);
  }
  void write(const std::string& name, const json& content) { folder_.write(name, content.dump()); }
  json& root() { return root_; }
  Tokenizer open() const { return Tokenizer::from_folder(folder_.path()); }
  const std::filesystem::path& path() const { return folder_.path(); }

 private:
  TemporaryFolder folder_;
  json root_;
};

TEST(AddedTokenFiles, TheDecoderListAddsWhatIsMissing) {
  Folder folder;
  folder.write(
      "tokenizer_config.json",
      {{"eos_token", "<|end|>"},
       {"added_tokens_decoder",
        {{"261", flags("<|start|>")}, {"262", flags("<|end|>")}, {"263", flags("<t>", false)}}}});
  const Tokenizer tokenizer = folder.open();
  EXPECT_EQ(tokenizer.encode("<|start|>hello<t><|end|>"), (Ids{kNext, 259, kNext + 2, kNext + 1}));
  EXPECT_EQ(tokenizer.eos_id(), kNext + 1);
  EXPECT_TRUE(tokenizer.is_special(kNext));
  EXPECT_FALSE(tokenizer.is_special(kNext + 2));
  EXPECT_EQ(tokenizer.encode("<t>", {.parse_special = false}), (Ids{kNext + 2}));
  EXPECT_EQ(tokenizer.n_vocab(), kNext + 3);
}

TEST(AddedTokenFiles, TokensOfBothAreSpecialIfEitherSaysSo) {
  Folder folder;
  folder.root()["added_tokens"] = {added_token(261, "<a>", false), added_token(262, "<b>", true)};
  folder.write("tokenizer.json", folder.root());
  folder.write(
      "tokenizer_config.json",
      {{"added_tokens_decoder", {{"261", flags("<a>", true)}, {"262", flags("<b>", false)}}}});
  const Tokenizer tokenizer = folder.open();
  EXPECT_EQ(tokenizer.special_ids(), (Ids{261, 262}));
  EXPECT_EQ(tokenizer.encode("<a><b>"), (Ids{261, 262}));
}

TEST(AddedTokenFiles, AWordOfTheVocabularyKeepsItsId) {
  Folder folder;
  folder.root()["post_processor"] = nullptr;  // its token is not among them
  folder.write("tokenizer.json", folder.root());
  folder.write("tokenizer_config.json",
               {{"added_tokens_decoder", {{"259", flags("hello", false)}}}});
  EXPECT_EQ(folder.open().encode("ohello"), (Ids{'o', 259}));
}

TEST(AddedTokenFiles, OldListsNameIds) {
  Folder folder;
  folder.write("added_tokens.json", {{"<|end|>", 262}, {"<|start|>", 261}});
  folder.write("special_tokens_map.json", {{"eos_token", {{"content", "<|end|>"}}}});
  const Tokenizer tokenizer = folder.open();
  EXPECT_EQ(tokenizer.encode("<|start|>hello<|end|>"), (Ids{261, 259, 262}));
  EXPECT_EQ(tokenizer.special_ids(), (Ids{262}));
  // The new list replaces the old one.
  folder.write("tokenizer_config.json", {{"added_tokens_decoder", {{"261", flags("<new>")}}}});
  EXPECT_FALSE(folder.open().find_token("<|start|>").has_value());
}

TEST(AddedTokenFiles, WhatCannotBeIsRefusedByName) {
  const auto refused = [](const json& list, ErrorCode code, const std::string& part) {
    Folder folder;
    folder.write("tokenizer_config.json", {{"added_tokens_decoder", list}});
    expect_error(code, part, [&] { folder.open(); });
  };
  refused({{"300", flags("<far>")}}, ErrorCode::kUnsupported, "<far>");
  refused({{"258", flags("hello")}}, ErrorCode::kUnsupported, "hello");
  refused({{"x", flags("<a>")}}, ErrorCode::kData, "is no token id");
  refused({{"-1", flags("<a>")}}, ErrorCode::kData, "is no token id");
  refused({{"99999999999", flags("<a>")}}, ErrorCode::kData, "is no token id");
  refused({{"261", 3}}, ErrorCode::kData, "object");
  refused({{"261", {{"special", true}}}}, ErrorCode::kData, "content");
  refused({{"261", {{"content", ""}}}}, ErrorCode::kData, "content is empty");
  refused(json::array(), ErrorCode::kData, "object");
  Folder folder;
  folder.write("added_tokens.json", {{"<a>", "261"}});
  expect_error(ErrorCode::kData, "<a>", [&] { folder.open(); });
}

}  // namespace
}  // namespace chunkllm
