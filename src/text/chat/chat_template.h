// Chat messages to the prompt that a model was trained on.
#pragma once

#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "text/tokenizer/tokenizer.h"

namespace chunkllm {

struct ChatMessage {
  std::string role;  // "system", "user" or "assistant"
  std::string content;
};

// A piece of a rendered prompt: markers of the template, or text somebody wrote.
struct ChatPiece {
  std::string text;
  bool is_control = false;  // special tokens in it are control; in the others they are plain text
};

struct ChatPrompt {
  std::vector<int32_t> ids;
  std::vector<TokenSpan> spans;  // the same with the bytes of the concatenated pieces
  std::vector<int64_t>
      prompt_ends;  // index of the last token before each assistant answer, ascending
};

enum class ChatFormat {
  kNeedle,
  kLlama3,
  kLlama31,
  kChatMl,
  kQwen2,
  kQwen25,
  kQwen3,
  kSmolLm2,
  kMistral,
};

// How one family of models writes chats. Recognised by markers in the model's own template; no
// general template language is run.
class ChatTemplate {
 public:
  // Reads chat_template from FOLDER/tokenizer_config.json (or chat_template.jinja). Throws Error
  // (kUnsupported) if there is none or it is not one of the known formats; the message says how to
  // choose one.
  static ChatTemplate from_folder(const std::filesystem::path& folder);
  // The same of a template's text, or of none; `where` names its file.
  static ChatTemplate from_text(const std::optional<std::string>& text, const std::string& where);
  // The format with this name. Throws Error (kInvalidArgument) with the names there are.
  static ChatTemplate named(std::string_view name);
  // The names of all formats, for help and messages: "needle, llama3, ...".
  static std::string names();
  explicit ChatTemplate(ChatFormat format) : format_(format) {}

  ChatFormat format() const { return format_; }

  // The pieces, whose texts concatenated equal what the model's template gives.
  // `add_generation_prompt` ends them with the marker after which the model answers. Throws Error
  // (kInvalidArgument, kData) on messages that cannot be written.
  std::vector<ChatPiece> render(const std::vector<ChatMessage>& messages,
                                bool add_generation_prompt) const;

  // Tokenises the pieces as one text, without the post-processor (the template writes BOS itself).
  // Markers in what somebody wrote stay text. Prompt ends are the tokens that hold the last byte
  // before each assistant answer, those of earlier turns included.
  ChatPrompt encode(const Tokenizer& tokenizer, const std::vector<ChatMessage>& messages,
                    bool add_generation_prompt) const;

 private:
  ChatFormat format_;
};

// The text of the template that from_folder() reads, or nothing if there is none. Throws Error
// (kIo, kData, kUnsupported).
std::optional<std::string> read_chat_template(const std::filesystem::path& folder);

}  // namespace chunkllm
