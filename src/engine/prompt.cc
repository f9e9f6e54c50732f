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
  Prompt prompt;
  prompt.ids = std::move(encoded.ids);
  prompt.ends = std::move(encoded.prompt_ends);
  prompt.written = std::move(encoded.written);
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
  prompt.written = {{0, prompt.n_tokens()}};
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

void begin_answer(const Tokenizer& tokenizer, Prompt& prompt, std::string_view text) {
  if (text.empty()) return;
  const std::vector<int32_t> ids = tokenizer.encode(text, {.parse_special = false});
  prompt.written.push_back({prompt.n_tokens(), prompt.n_tokens() + std::ssize(ids)});
  prompt.ids.insert(prompt.ids.end(), ids.begin(), ids.end());
  prompt.ends.back() = prompt.n_tokens() - 1;
}

namespace {

// The text of a member that has to be one.
std::string text_of(const nlohmann::ordered_json& message, const char* name,
                    const std::string& where) {
  const auto field = message.find(name);
  if (field == message.end()) {
    fail(ErrorCode::kData, "{}: the field \"{}\" is missing", where, name);
  }
  if (!field->is_string()) {
    fail(ErrorCode::kData, "{}: \"{}\" must be a string, found {}", where, name,
         field->type_name());
  }
  return field->get<std::string>();
}

// Those that OpenAI's clients send, or the bare functions that templates take as well.
void check_calls(const nlohmann::ordered_json& message, const std::string& where) {
  if (!message.contains("tool_calls")) return;
  const auto has_name = [](const nlohmann::ordered_json& call) {
    return call.is_object() && call.contains("name") && call["name"].is_string();
  };
  for (const nlohmann::ordered_json& call : message["tool_calls"]) {
    const bool is_call = has_name(call) || (call.is_object() && call.contains("function") &&
                                            has_name(call["function"]));
    if (is_call) continue;
    fail(ErrorCode::kData, "{}: tool_calls must hold objects with a function that has a name",
         where);
  }
}

ChatMessage parse_message(const nlohmann::ordered_json& json, const std::string& where) {
  if (!json.is_object()) {
    fail(ErrorCode::kData, "{}: expected a JSON object, found {}", where, json.type_name());
  }
  ChatMessage message{text_of(json, "role", where), ""};
  if (!is_chat_role(message.role)) {
    fail(ErrorCode::kData, "{}: the role {} is none of {}", where, show_text(message.role),
         kChatRoles);
  }
  const bool calls_tools = json.contains("tool_calls") && json["tool_calls"].is_array();
  const bool has_no_content = json.contains("content") ? json["content"].is_null() : calls_tools;
  if (!has_no_content) message.content = text_of(json, "content", where);
  for (const auto& [name, value] : json.items()) {
    if (name == "tool_calls" ? value.is_array() || value.is_null()
                             : value.is_string() || value.is_null()) {
      continue;
    }
    fail(ErrorCode::kData, "{}: {} must be {}, found {}; leave it out", where, show_text(name),
         name == "tool_calls" ? "an array" : "a string", value.type_name());
  }
  check_calls(json, where);
  const nlohmann::ordered_json two = {{"role", message.role}, {"content", message.content}};
  if (json != two) message.given = json;
  return message;
}

}  // namespace

std::vector<ChatMessage> parse_messages(const nlohmann::ordered_json& json,
                                        const std::string& where) {
  if (json.is_array() && json.empty()) {
    fail(ErrorCode::kData, "{} holds no message; give one at least", where);
  }
  if (!json.is_array()) {
    fail(ErrorCode::kData,
         "{} must be a JSON array of messages, {{\"role\": ..., \"content\": ...}}", where);
  }
  std::vector<ChatMessage> messages;
  for (const nlohmann::ordered_json& entry : json) {
    messages.push_back(
        parse_message(entry, fmt::format("{}, message {}", where, messages.size() + 1)));
  }
  const std::string& last = messages.back().role;
  if (last != "user" && last != "tool") {
    fail(ErrorCode::kData,
         "{}: the last message has the role {}; it must be the user's or a tool's", where, last);
  }
  return messages;
}

}  // namespace chunkllm
