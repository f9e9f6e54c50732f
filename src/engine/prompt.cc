#include "engine/prompt.h"

#include <nlohmann/json.hpp>

#include "base/error.h"
#include "base/json.h"

namespace chunkllm {
namespace {

std::vector<Range> find_answers(const Tokenizer& tokenizer, const Prompt& prompt) {
  std::vector<Range> answers;
  for (size_t i = 0; i + 1 < prompt.ends.size(); ++i) {
    const int64_t begin = prompt.ends[i] + 1;
    const int64_t next_end = prompt.ends[i + 1];
    int64_t last = begin;
    while (last < next_end && !tokenizer.is_special(prompt.ids[static_cast<size_t>(last)])) ++last;
    // Without a marker nobody can say where the answer ends.
    answers.push_back({begin, last < next_end ? last + 1 : begin});
  }
  return answers;
}

Prompt to_prompt(const Tokenizer& tokenizer, const ChatTemplate& chat_template,
                 ChatPrompt encoded) {
  if (encoded.ids.empty()) {
    fail(ErrorCode::kData, "the chat template writes nothing for these messages; check it");
  }
  Prompt prompt{std::move(encoded.ids), std::move(encoded.prompt_ends), {}, {}};
  prompt.answers = find_answers(tokenizer, prompt);
  prompt.turn_end = chat_template.turn_end(tokenizer);
  return prompt;
}

}  // namespace

Prompt text_prompt(const Tokenizer& tokenizer, std::string_view text) {
  Prompt prompt;
  prompt.ids = tokenizer.encode(text, {.add_special_tokens = true});
  if (prompt.ids.empty()) {
    fail(ErrorCode::kInvalidArgument, "the prompt is empty; give at least one token");
  }
  prompt.ends = {prompt.n_tokens() - 1};
  return prompt;
}

Prompt chat_prompt(const Tokenizer& tokenizer, const ChatTemplate& chat_template,
                   const std::vector<ChatMessage>& messages) {
  return to_prompt(tokenizer, chat_template, chat_template.encode(tokenizer, messages, true));
}

Prompt chat_prompt(const Tokenizer& tokenizer, const ChatTemplate& chat_template,
                   const std::vector<ChatMessage>& messages,
                   const std::vector<std::vector<int32_t>>& answers) {
  return to_prompt(tokenizer, chat_template,
                   chat_template.encode_with_answers(tokenizer, messages, answers));
}

std::vector<ChatMessage> parse_messages(const nlohmann::json& json, const std::string& where) {
  if (!json.is_array() || json.empty()) {
    fail(ErrorCode::kData,
         "{} must be a JSON array of messages, {{\"role\": ..., \"content\": ...}}", where);
  }
  std::vector<ChatMessage> messages;
  for (const nlohmann::json& entry : json) {
    const std::string entry_where = fmt::format("{}, message {}", where, messages.size() + 1);
    const JsonFields fields(entry, entry_where);
    ChatMessage message{fields.string("role"), fields.string("content")};
    if (message.role != "system" && message.role != "user" && message.role != "assistant") {
      fail(ErrorCode::kData, "{}: the role {} must be system, user or assistant", entry_where,
           show_text(message.role));
    }
    messages.push_back(std::move(message));
  }
  if (messages.back().role != "user") {
    fail(ErrorCode::kData, "{}: the last message has the role {}; it must be the user's", where,
         messages.back().role);
  }
  return messages;
}

}  // namespace chunkllm
