// Token ids and chat prompts against those of Hugging Face tokenizers and transformers. The values
// lie in the folder that CHUNKLLM_FIXTURES names, a folder for each tokenizer.
#include <gtest/gtest.h>

#include <algorithm>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <iostream>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <vector>

#include "base/error.h"
#include "text/chat/chat_template.h"
#include "text/tokenizer/tokenizer.h"
#include "text/utf8.h"

namespace chunkllm {
namespace {

using nlohmann::json;

std::filesystem::path fixtures() {
  const char* folder = std::getenv("CHUNKLLM_FIXTURES");
  return folder != nullptr ? folder : CHUNKLLM_SOURCE_DIR "/../shared/fixtures";
}

std::vector<json> read_lines(const std::filesystem::path& path) {
  std::vector<json> lines;
  std::ifstream file(path);
  for (std::string line; std::getline(file, line);) lines.push_back(json::parse(line));
  return lines;
}

std::vector<std::filesystem::path> tokenizer_folders() {
  std::vector<std::filesystem::path> folders;
  std::error_code error;
  for (const auto& entry : std::filesystem::directory_iterator(fixtures() / "tokenizers", error)) {
    if (std::filesystem::exists(entry.path() / "tokenizer.json")) folders.push_back(entry.path());
  }
  std::ranges::sort(folders);
  return folders;
}

// Nothing if this engine does not support it, which is said.
template <typename Load>
auto load_if_supported(const std::filesystem::path& folder, Load load)
    -> std::optional<decltype(load(folder))> {
  try {
    return load(folder);
  } catch (const Error& error) {
    EXPECT_EQ(error.code(), ErrorCode::kUnsupported) << error.what();
    std::cout << folder.filename().string() << ": skipped, " << error.what() << '\n';
    return std::nullopt;
  }
}

void check_case(const Tokenizer& tokenizer, const json& golden) {
  const std::string text = golden["text"];
  const auto ids = golden["ids"].get<std::vector<int32_t>>();
  EXPECT_EQ(tokenizer.encode(text), ids) << text;
  EXPECT_EQ(tokenizer.encode(text, {.add_special_tokens = true}),
            golden["ids_special"].get<std::vector<int32_t>>())
      << text;
  EXPECT_EQ(tokenizer.decode(ids), golden["decoded"].get<std::string>());
}

// Costs no reference: offsets tile the text, and a stream gives what decode gives. Where nothing is
// normalized away, what is encoded decodes to itself.
void check_round_trip(const Tokenizer& tokenizer, const std::string& text, bool is_exact) {
  std::vector<int32_t> ids;
  int64_t end = 0;
  StreamDecoder decoder(tokenizer, false);
  std::string streamed;
  for (const TokenSpan& span : tokenizer.encode_with_offsets(text)) {
    ASSERT_EQ(span.begin, end) << text;
    end = span.end;
    ids.push_back(span.id);
    streamed += decoder.push(span.id);
    ASSERT_EQ(find_invalid_utf8(streamed), std::nullopt);
  }
  // Of a text whose bytes the vocabulary all leaves out there are no tokens.
  if (!ids.empty()) {
    ASSERT_EQ(end, std::ssize(text));
  }
  EXPECT_EQ(ids, tokenizer.encode(text));
  EXPECT_EQ(streamed + decoder.finish(), tokenizer.decode(ids));
  if (is_exact) {
    EXPECT_EQ(tokenizer.decode(ids), text);
  }
}

TEST(GoldenTokenizer, IdsAndTextsAreThoseOfHuggingFace) {
  const auto folders = tokenizer_folders();
  if (folders.empty()) GTEST_SKIP() << "no tokenizers in " << fixtures();
  int n_run = 0;
  for (const auto& folder : folders) {
    const auto tokenizer = load_if_supported(folder, Tokenizer::from_folder);
    if (!tokenizer) continue;
    const std::vector<json> cases = read_lines(folder / "cases.jsonl");
    EXPECT_FALSE(cases.empty()) << folder;
    for (const json& golden : cases) check_case(*tokenizer, golden);
    for (const json& golden : cases) {
      check_round_trip(*tokenizer, golden["text"], golden["text"] == golden["decoded"]);
    }
    std::cout << folder.filename().string() << ": " << cases.size() << " texts\n";
    ++n_run;
  }
  EXPECT_GT(n_run, 0) << "no tokenizer here is supported";
}

bool text_without_markers(const Tokenizer& tokenizer, const std::vector<ChatMessage>& messages) {
  return std::ranges::all_of(messages, [&](const ChatMessage& message) {
    return tokenizer.encode(message.content) ==
           tokenizer.encode(message.content, {.parse_special = false});
  });
}

void check_chat(const ChatTemplate& format, const Tokenizer& tokenizer, const json& golden) {
  std::vector<ChatMessage> messages;
  for (const json& message : golden["messages"]) {
    messages.push_back({message["role"], message["content"]});
  }
  const bool add_generation_prompt = golden["add_generation_prompt"];
  std::string text;
  for (const ChatPiece& piece : format.render(messages, add_generation_prompt)) text += piece.text;
  EXPECT_EQ(text, golden["text"].get<std::string>());
  const ChatPrompt prompt = format.encode(tokenizer, messages, add_generation_prompt);
  // Only markers that somebody wrote are tokenised in another way, as text.
  if (text_without_markers(tokenizer, messages)) {
    EXPECT_EQ(prompt.ids, tokenizer.encode(text)) << text;
  } else {
    EXPECT_NE(prompt.ids, tokenizer.encode(text)) << text;
  }
  EXPECT_EQ(tokenizer.decode(prompt.ids), tokenizer.decode(tokenizer.encode(text)));
}

TEST(GoldenChatTemplate, PromptsAreThoseOfTransformers) {
  const auto folders = tokenizer_folders();
  if (folders.empty()) GTEST_SKIP() << "no tokenizers in " << fixtures();
  for (const auto& folder : folders) {
    const std::vector<json> cases = read_lines(folder / "chat_cases.jsonl");
    if (cases.empty()) continue;
    const auto format = load_if_supported(folder, ChatTemplate::from_folder);
    if (!format) continue;
    const auto tokenizer = load_if_supported(folder, Tokenizer::from_folder);
    if (!tokenizer) continue;
    for (const json& golden : cases) check_chat(*format, *tokenizer, golden);
    std::cout << folder.filename().string() << ": " << cases.size() << " chats\n";
  }
}

// The small model that comes with the fixtures has no reference ids; its files must load and agree
// with themselves on the texts of all others.
TEST(GoldenNeedle, TokenizerAndTemplateLoad) {
  const std::filesystem::path folder = fixtures() / "../models/needle-6m";
  if (!std::filesystem::exists(folder / "tokenizer.json")) GTEST_SKIP() << "no model in " << folder;
  const Tokenizer tokenizer = Tokenizer::from_folder(folder);
  for (const auto& other : tokenizer_folders()) {
    for (const json& golden : read_lines(other / "cases.jsonl")) {
      check_round_trip(tokenizer, golden["text"], true);
    }
  }
  const ChatTemplate format = ChatTemplate::from_folder(folder);
  const ChatPrompt prompt =
      format.encode(tokenizer, {{"user", "A"}, {"assistant", "B"}, {"user", "C"}}, true);
  EXPECT_EQ(prompt.ids.front(), tokenizer.bos_id());
  EXPECT_EQ(tokenizer.decode(prompt.ids),
            "<|begin_of_text|><|user|>A<|assistant|>B<|end_of_turn|><|user|>C<|assistant|>");
  ASSERT_EQ(prompt.prompt_ends.size(), 2u);
  EXPECT_EQ(prompt.ids[prompt.prompt_ends[0]], tokenizer.find_token("<|assistant|>"));
  EXPECT_EQ(tokenizer.eos_id(), tokenizer.find_token("<|end_of_turn|>"));
}

}  // namespace
}  // namespace chunkllm
