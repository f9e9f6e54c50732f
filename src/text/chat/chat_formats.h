// The ways of writing chats that are known, one row of a table each.
#pragma once

#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "text/chat/chat_template.h"

namespace chunkllm {

// A piece, and whether the model's answer begins after it.
struct ChatPart {
  ChatPiece piece;
  bool is_prompt_end = false;
};

// Roles and texts of `messages` have been checked.
using RenderChat = std::vector<ChatPart> (*)(const std::vector<ChatMessage>& messages,
                                             bool add_generation_prompt);

struct ChatFormatInfo {
  ChatFormat format;
  std::string_view name;  // as --chat-template takes it
  RenderChat render;
  std::vector<std::string_view> special_tokens;  // the tokenizer must have them
  std::vector<std::string_view> markers;         // a template of this format has all of them, and
  std::vector<std::string_view> foreign;         // none of these, which change what it writes
};

std::span<const ChatFormatInfo> chat_formats();

}  // namespace chunkllm
