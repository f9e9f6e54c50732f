// What a model is asked to continue: tokens, where answers begin, and earlier answers among them.
#pragma once

#include <cstdint>
#include <nlohmann/json_fwd.hpp>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/range.h"
#include "text/chat/chat_template.h"

namespace chunkllm {

// Indices into `ids`; see Session::prefill().
struct Prompt {
  std::vector<int32_t> ids;
  std::vector<int64_t> ends;   // last tokens before each answer, ascending; the last one ends it
  std::vector<Range> answers;  // earlier answers with the tokens that ended them, ascending
  // Tokens of what somebody wrote; the others are a chat template's. Ascending and disjoint; empty
  // where earlier answers keep their tokens.
  std::vector<Range> written;
  std::optional<int32_t> turn_end;  // of a chat: ends the answer, as the model's end tokens do

  int64_t n_tokens() const { return static_cast<int64_t>(ids.size()); }
};

// Plain text, encoded with what the tokenizer puts around a text (BOS, usually). Throws Error.
Prompt text_prompt(const Tokenizer& tokenizer, std::string_view text);

// Messages, and the marker after which the model answers. Each earlier answer ends with the first
// special token after it: what somebody wrote holds none. Throws Error.
Prompt chat_prompt(const Tokenizer& tokenizer, const ChatTemplate& chat_template,
                   const std::vector<ChatMessage>& messages);

// The same, where earlier answers keep the tokens they were generated as, if the template writes
// them as they were given: `answers` has one list for each assistant message.
Prompt chat_prompt(const Tokenizer& tokenizer, const ChatTemplate& chat_template,
                   const std::vector<ChatMessage>& messages,
                   const std::vector<std::vector<int32_t>>& answers);

// Adds the first words of the answer, from which the model goes on: plain text, whatever it holds,
// that belongs to the prompt. Nothing where `text` is empty. Throws Error.
void begin_answer(const Tokenizer& tokenizer, Prompt& prompt, std::string_view text);

// A JSON array of {"role": one of kChatRoles, "content": TEXT or null}, the last of the user or of
// a tool. Other members are kept for the template: texts, and the array `tool_calls`, with which
// the content may be missing. `where` names the source in errors. Throws Error (kData).
std::vector<ChatMessage> parse_messages(const nlohmann::ordered_json& json,
                                        const std::string& where);

}  // namespace chunkllm
