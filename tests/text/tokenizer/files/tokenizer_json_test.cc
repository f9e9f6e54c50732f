// What the reader of tokenizer.json takes and what it refuses, by name.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <functional>
#include <string>
#include <vector>

#include "base/error.h"
#include "testing/expect_error.h"
#include "text/tokenizer/small_tokenizer.h"
#include "text/tokenizer/tokenizer.h"

namespace chunkllm {
namespace {

using nlohmann::json;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::Not;

struct Refusal {
  std::string named;                  // a word that the message must have
  std::function<void(json&)> change;  // what is done to a tokenizer.json that is right
};

void expect_refused(ErrorCode code, const std::vector<Refusal>& refusals) {
  for (const Refusal& refusal : refusals) {
    json changed = small_tokenizer_json();
    refusal.change(changed);
    try {
      make_tokenizer(changed);
      ADD_FAILURE() << "accepted: " << refusal.named;
    } catch (const Error& error) {
      EXPECT_EQ(error.code(), code) << error.what();
      EXPECT_THAT(error.what(), HasSubstr(refusal.named));
      EXPECT_THAT(error.what(), HasSubstr("tokenizer.json"));
      EXPECT_THAT(error.what(), Not(HasSubstr("\n")));
    }
  }
}

TEST(TokenizerJson, NamesWhatIsNotSupported) {
  expect_refused(
      ErrorCode::kUnsupported,
      {{"Unigram", [](json& j) { j["model"]["type"] = "Unigram"; }},
       {"dropout", [](json& j) { j["model"]["dropout"] = 0.1; }},
       {"byte_fallback", [](json& j) { j["model"]["byte_fallback"] = true; }},
       {"end_of_word_suffix", [](json& j) { j["model"]["end_of_word_suffix"] = "</w>"; }},
       {"surprise", [](json& j) { j["model"]["surprise"] = 1; }},
       {"surprise", [](json& j) { j["surprise"] = 1; }},
       {"byte 0x41",
        [](json& j) {
          j["model"]["vocab"].erase("A");
          j["model"]["unk_token"] = "<tool>";
        }},
       {"NFKC",
        [](json& j) {
          j["normalizer"] = {{"type", "NFKC"}};
        }},
       {"pre_tokenizer", [](json& j) { j["pre_tokenizer"] = nullptr; }},
       {"Whitespace",
        [](json& j) {
          j["pre_tokenizer"] = {{"type", "Whitespace"}};
        }},
       {"Punctuation",
        [](json& j) {
          j["pre_tokenizer"]["pretokenizers"][0] = {{"type", "Punctuation"}};
        }},
       {"at this place",
        [](json& j) {
          json& parts = j["pre_tokenizer"]["pretokenizers"];
          std::swap(parts[0], parts[1]);
        }},
       {"Sequence of 40 parts",
        [](json& j) {
          j["pre_tokenizer"]["pretokenizers"] =
              json::array_t(40, {{"type", "Digits"}, {"individual_digits", true}});
        }},
       {"surprise", [](json& j) { j["pre_tokenizer"]["pretokenizers"][0]["surprise"] = 1; }},
       {"content of 5000 bytes",
        [](json& j) {
          j["normalizer"] = {{"type", "Replace"},
                             {"pattern", {{"String", "a"}}},
                             {"content", std::string(5000, 'a')}};
        }},
       {"no String",
        [](json& j) {
          j["normalizer"] = {{"type", "Replace"}, {"pattern", {{"Regex", "a"}}}, {"content", "b"}};
        }},
       {"Removed", [](json& j) { j["pre_tokenizer"]["pretokenizers"][0]["behavior"] = "Removed"; }},
       {"invert", [](json& j) { j["pre_tokenizer"]["pretokenizers"][0]["invert"] = true; }},
       {"[a-z]+",
        [](json& j) {
          j["pre_tokenizer"]["pretokenizers"][0]["pattern"] = {{"Regex", "[a-z]+"}};
        }},
       {"add_prefix_space",
        [](json& j) { j["pre_tokenizer"]["pretokenizers"][1]["add_prefix_space"] = true; }},
       {"decoder", [](json& j) { j["decoder"] = nullptr; }},
       {"Metaspace",
        [](json& j) {
          j["decoder"] = {{"type", "Metaspace"}, {"replacement", "\u2581"}};
        }},
       {"BertProcessing",
        [](json& j) {
          j["post_processor"] = {{"type", "BertProcessing"}};
        }},
       {"template",
        [](json& j) {
          j["post_processor"]["single"].push_back({{"Sequence", {{"id", "A"}}}});
        }},
       {"more than 64",
        [](json& j) {
          j["post_processor"]["special_tokens"]["<|begin_of_text|>"]["ids"] =
              json::array_t(70, 261);
        }},
       {"added_tokens[0]",
        [](json& j) { j["added_tokens"][0]["content"] = std::string(5000, 'x'); }}});
}

TEST(TokenizerJson, NamesFileAndFieldOfMalformedInput) {
  expect_refused(
      ErrorCode::kData,
      {{"model", [](json& j) { j.erase("model"); }},
       {"model", [](json& j) { j["model"] = "BPE"; }},
       {"vocab", [](json& j) { j["model"].erase("vocab"); }},
       {"vocab",
        [](json& j) {
          j["model"]["vocab"] = {1, 2};
        }},
       {"vocab", [](json& j) { j["model"]["vocab"]["he"] = -1; }},
       {"vocab", [](json& j) { j["model"]["vocab"]["he"] = 1.5; }},
       {"vocab", [](json& j) { j["model"]["vocab"]["he"] = "x"; }},
       {"vocab", [](json& j) { j["model"]["vocab"]["he"] = 1e300; }},
       {"4294967295", [](json& j) { j["model"]["vocab"]["he"] = 4294967295; }},
       {"two tokens", [](json& j) { j["model"]["vocab"]["he"] = 7; }},
       {"merges", [](json& j) { j["model"].erase("merges"); }},
       {"merges",
        [](json& j) {
          j["model"]["merges"] = {{"a", 1}};
        }},
       {"merges[0]", [](json& j) { j["model"]["merges"][0] = "he"; }},
       {"merges[0]", [](json& j) { j["model"]["merges"][0] = "h e l"; }},
       {"merges[1]",
        [](json& j) {
          j["model"]["merges"][1] = {"a", "b", "c"};
        }},
       {"merges[1]", [](json& j) { j["model"]["merges"][1] = 3; }},
       {"\"zz\"", [](json& j) { j["model"]["merges"][1] = "z z"; }},
       {"merges[1]",
        [](json& j) {
          j["model"]["merges"][1] = {"", "z"};
        }},
       {"ignore_merges", [](json& j) { j["model"]["ignore_merges"] = "yes"; }},
       {"added_tokens", [](json& j) { j["added_tokens"] = 5; }},
       {"added_tokens[1]", [](json& j) { j["added_tokens"][1] = 5; }},
       {"added_tokens[1]", [](json& j) { j["added_tokens"][1]["content"] = ""; }},
       {"added_tokens[1]", [](json& j) { j["added_tokens"][1]["id"] = -3; }},
       {"special", [](json& j) { j["added_tokens"][1]["special"] = 1; }},
       {"clashes", [](json& j) { j["added_tokens"][1]["id"] = 65; }},
       {"clashes", [](json& j) { j["added_tokens"][1]["id"] = 263; }},
       {"clashes", [](json& j) { j["added_tokens"].push_back(added_token(400, "<|user|>")); }},
       {"clashes", [](json& j) { j["added_tokens"].push_back(added_token(400, "hello")); }},
       {"single", [](json& j) { j["post_processor"].erase("single"); }},
       {"special_tokens", [](json& j) { j["post_processor"]["special_tokens"] = json::object(); }},
       {"100000", [](json& j) {
          j["post_processor"]["special_tokens"]["<|begin_of_text|>"]["ids"] = {100000};
        }}});
}

TEST(TokenizerJson, NamesWhatIsWrongWithCharacterVocabularies) {
  const auto refuse = [](ErrorCode code, const std::string& named,
                         const std::function<void(json&)>& change) {
    json changed = small_sentencepiece_json();
    change(changed);
    expect_error(code, named, [&] { make_tokenizer(changed); });
  };
  const ErrorCode unsupported = ErrorCode::kUnsupported;
  refuse(unsupported, "<0x41>", [](json& j) { j["model"]["vocab"].erase("<0x41>"); });
  refuse(unsupported, "unk_token", [](json& j) {
    j["model"]["byte_fallback"] = false;
    j["model"]["unk_token"] = nullptr;
  });
  refuse(ErrorCode::kData, "unk_token", [](json& j) {
    j["model"]["byte_fallback"] = false;
    j["model"]["unk_token"] = "<none>";
  });
  refuse(unsupported, "ignore_merges", [](json& j) { j["model"]["ignore_merges"] = true; });
  refuse(unsupported, "merges[0]", [](json& j) {
    j["model"]["vocab"]["h<0x41>"] = 300;
    j["model"]["merges"][0] = "h <0x41>";
  });
  refuse(unsupported, "Strip", [](json& j) { j["decoder"]["decoders"].erase(2); });
  refuse(unsupported, "stop", [](json& j) { j["decoder"]["decoders"][3]["stop"] = 1; });
  refuse(unsupported, "WordPiece", [](json& j) { j["decoder"] = {{"type", "WordPiece"}}; });
  refuse(unsupported, "ByteLevel", [](json& j) { j["decoder"] = {{"type", "ByteLevel"}}; });
  refuse(ErrorCode::kData, "one character", [](json& j) {
    j["pre_tokenizer"] = {{"type", "Metaspace"}, {"replacement", "ab"}};
  });
  refuse(unsupported, "sometimes", [](json& j) {
    j["pre_tokenizer"] = {
        {"type", "Metaspace"}, {"replacement", "_"}, {"prepend_scheme", "sometimes"}};
  });
}

TEST(TokenizerJson, RefusesDeepNestingAndInvalidUtf8) {
  const TemporaryFolder folder;
  const auto expect_bad = [&](const std::string& content, const std::string& named) {
    folder.write("tokenizer.json", content);
    expect_error(ErrorCode::kData, named, [&] { Tokenizer::from_folder(folder.path()); });
  };
  const std::string deep(100000, '[');
  expect_bad("{\"normalizer\": " + deep, "nested");
  std::string text = small_tokenizer_json().dump();
  text.replace(text.find("\"hello\""), 3, "\"\xff\xfe");
  expect_bad(text, "not valid JSON");
  expect_bad("[]", "object");
  text = small_tokenizer_json().dump();
  text.insert(text.find("\"hello\""), "\"hello\": 5, ");
  expect_bad(text, "twice");
}

TEST(TokenizerJson, MergesMayBeWrittenAsPairs) {
  json j = small_tokenizer_json();
  json& merges = j["model"]["merges"];
  for (json& merge : merges) {
    const std::string text = merge;
    const size_t space = text.find(' ');
    merge = json::array({text.substr(0, space), text.substr(space + 1)});
  }
  EXPECT_THAT(make_tokenizer(j).encode("hello world"), ElementsAre(259, 260, 'o', 'r', 'l', 'd'));
}

TEST(TokenizerJson, PostProcessors) {
  json j = small_tokenizer_json();
  const EncodeOptions with_special{.add_special_tokens = true};
  const json processor = j["post_processor"];
  j["post_processor"] = {
      {"type", "Sequence"},
      {"processors", {{{"type", "ByteLevel"}, {"trim_offsets", true}}, processor}}};
  EXPECT_THAT(make_tokenizer(j).encode("x", with_special), ElementsAre(261, 'x'));
  j["post_processor"] = nullptr;
  EXPECT_THAT(make_tokenizer(j).encode("x", with_special), ElementsAre('x'));
  j["post_processor"] = processor;
  j["post_processor"]["single"].push_back({{"SpecialToken", {{"id", "<|begin_of_text|>"}}}});
  EXPECT_THAT(make_tokenizer(j).encode("x", with_special), ElementsAre(261, 'x', 261));
}

TEST(TokenizerJson, IdsMayHaveGapsWhichAreNoTokens) {
  json j = small_tokenizer_json();
  j["added_tokens"].push_back(added_token(400, "<late>"));
  const Tokenizer tokenizer = make_tokenizer(j);
  EXPECT_EQ(tokenizer.n_vocab(), 401);
  EXPECT_EQ(tokenizer.token_bytes(400), "<late>");
  EXPECT_THROW(tokenizer.token_bytes(350), Error);
}

TEST(TokenizerJson, ConfigNamesBosAndEos) {
  const TemporaryFolder folder;
  folder.write("tokenizer.json", small_tokenizer_json().dump());
  folder.write("tokenizer_config.json",
               R"({"bos_token": "<|begin_of_text|>", "eos_token": {"content": "<|eot_id|>"}})");
  const Tokenizer tokenizer = Tokenizer::from_folder(folder.path());
  EXPECT_EQ(tokenizer.bos_id(), 261);
  EXPECT_EQ(tokenizer.eos_id(), 267);
  for (const char* config :
       {R"({"bos_token": "<none>"})", R"({"bos_token": 5})", R"({"eos_token": {}})", "[]", "{"}) {
    folder.write("tokenizer_config.json", config);
    EXPECT_THROW(Tokenizer::from_folder(folder.path()), Error) << config;
  }
}

TEST(TokenizerJson, MissingOrBrokenFilesAreErrors) {
  const TemporaryFolder folder;
  try {
    Tokenizer::from_folder(folder.path());
    FAIL();
  } catch (const Error& error) {
    EXPECT_EQ(error.code(), ErrorCode::kIo);
  }
  const std::string whole = small_tokenizer_json().dump();
  for (size_t n = 0; n < whole.size(); n += 97) {
    folder.write("tokenizer.json", whole.substr(0, n));
    ASSERT_THROW(Tokenizer::from_folder(folder.path()), Error) << n;
  }
}

}  // namespace
}  // namespace chunkllm
