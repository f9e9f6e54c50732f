// Where a prompt comes from, and how it becomes tokens.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "cli/common.h"
#include "engine/engine.h"
#include "engine/prompt.h"

namespace chunkllm::cli {

// How messages become text.
struct ChatFormat {
  std::optional<std::string> system;
  std::optional<std::string> chat_template;  // a name or a file; nothing: the model's own
};

// --chat-template.
void add_chat_template_option(CLI::App& app, ChatFormat& format);
// --system and --chat-template.
void add_chat_format_options(CLI::App& app, ChatFormat& format);
// Throws Error for what cannot be used with any model.
void check_chat_format(const ChatFormat& format);
// The chat template that the options name, or else the model's own. Throws Error.
ChatTemplate open_chat_template(const ChatFormat& format, const Engine& engine);

struct PromptSource {
  std::string text;
  std::string file;  // - for standard input
  std::string messages_file;
  bool chat = false;  // the text is one user turn
};

// --prompt, --prompt-file (or a word) and --messages, of which one must be given, and --chat. More
// sources may be added to the group.
CLI::Option_group* add_prompt_options(CLI::App& app, PromptSource& source);

// The text of --prompt or --prompt-file. Throws Error (kInvalidArgument) where it is empty, (kIo,
// kData).
std::string read_prompt_text(const PromptSource& source, const CancelToken& cancel);

// The bytes of a file. Throws Error (kIo).
std::string read_whole_file(const std::string& path);
// The same without a byte order mark that it begins with; does not check that it is UTF-8.
std::string read_text_file(const std::string& path);

// Reads texts and messages as prompts. Refers to the engine and the format, which must outlive it.
class PromptReader {
 public:
  PromptReader(const Engine& engine, const ChatFormat& format, bool chat)
      : engine_(engine), format_(format), chat_(chat) {}

  // A chat where that, or its format, was asked for.
  Prompt text(const std::string& text);
  Prompt messages(std::vector<ChatMessage> messages);
  // Whichever the source has.
  Prompt source(const PromptSource& source, const CancelToken& cancel);

 private:
  const Engine& engine_;
  const ChatFormat& format_;
  bool chat_;
  std::optional<ChatTemplate> chat_template_;  // read when the first chat needs it
};

}  // namespace chunkllm::cli
