// Tokens of texts and chats as the program shows them.

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "cli/run_program.h"
#include "testing/models.h"

namespace chunkllm {
namespace {

using nlohmann::json;
using Arguments = std::vector<std::string>;

ProgramResult tokenize(Arguments more, const std::string& input = {}) {
  Arguments arguments{"tokenize", "--model", needle_model().string()};
  arguments.insert(arguments.end(), more.begin(), more.end());
  return run_program(arguments, {.input = input});
}

json tokenize_json(Arguments more, const std::string& input = {}) {
  more.emplace_back("--json");
  const ProgramResult result = tokenize(std::move(more), input);
  EXPECT_EQ(result.exit_code, 0) << result.err;
  return json::parse(result.out);
}

constexpr const char* kText = "Grüße, \"42\"\n";

TEST(Tokenize, IdsGiveTheTextBack) {
  const json tokens = tokenize_json({"--prompt", kText});
  ASSERT_EQ(tokens["ids"].size(), tokens["n_tokens"]);
  ASSERT_EQ(tokens["pieces"].size(), tokens["n_tokens"]);
  std::string list;
  for (const json& id : tokens["ids"]) list += (list.empty() ? "" : ",") + id.dump();
  const json text = tokenize_json({"--ids", list});
  EXPECT_THAT(text["text"].get<std::string>(), testing::EndsWith(kText));
  EXPECT_EQ(text["ids"], tokens["ids"]);
}

TEST(Tokenize, ALineATokenWhateverItHolds) {
  const ProgramResult result = tokenize({"-"}, kText);
  ASSERT_EQ(result.exit_code, 0) << result.err;
  const json tokens = tokenize_json({"--prompt", kText});
  EXPECT_EQ(std::ranges::count(result.out, '\n'), tokens["n_tokens"].get<int64_t>());
  EXPECT_EQ(result.err, tokens["n_tokens"].dump() + " tokens\n");
  EXPECT_THAT(result.out, testing::HasSubstr("\\n"));
}

TEST(Tokenize, AChatIsWhatTheModelReads) {
  const json plain = tokenize_json({"--prompt", "Hello."});
  const json chat = tokenize_json({"--prompt", "Hello.", "--chat"});
  EXPECT_GT(chat["n_tokens"], plain["n_tokens"]);
  const json with_system = tokenize_json({"--prompt", "Hello.", "--system", "Be brief."});
  EXPECT_GT(with_system["n_tokens"], chat["n_tokens"]);
}

TEST(Tokenize, RefusesWhatItCannotDo) {
  const auto expect_refused = [](const Arguments& more, int exit_code, const char* part) {
    const ProgramResult result = tokenize(more);
    EXPECT_EQ(result.exit_code, exit_code);
    EXPECT_EQ(result.out, "");
    EXPECT_THAT(result.err, testing::StartsWith("error: "));
    EXPECT_THAT(result.err, testing::HasSubstr(part));
    EXPECT_EQ(std::ranges::count(result.err, '\n'), 1);
  };
  expect_refused({}, 2, "--prompt");
  expect_refused({"--prompt", "a", "--ids", "1"}, 2, "--ids");
  expect_refused({"--ids", "1,x"}, 2, "x");
  expect_refused({"--ids", "1,,2"}, 2, "--ids");
  expect_refused({"--ids", "-1"}, 2, "-1");
  expect_refused({"--ids", "2000000000"}, 1, "2000000000");
  expect_refused({"--prompt", ""}, 2, "empty");
  expect_refused({"--prompt-file", "/nowhere"}, 1, "/nowhere");
  expect_refused({"--prompt", "a", "--kv-budget", "5"}, 2, "chunkllm tokenize --help");
}

}  // namespace
}  // namespace chunkllm
