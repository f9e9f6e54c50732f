#include "cli/prompt_source.h"

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <system_error>

#include "base/error.h"
#include "base/json.h"
#include "cli/line_reader.h"
#include "cli/options.h"
#include "text/utf8.h"

namespace chunkllm::cli {
namespace {

// A text that may be empty and was given all the same.
CLI::Option* add_given_text(CLI::App& app, const std::string& name,
                            std::optional<std::string>& text, const std::string& help) {
  return app.add_option_function<std::string>(
      name, [&text](const std::string& given) { text = given; }, help);
}

}  // namespace

void add_chat_format_options(CLI::App& app, ChatFormat& format) {
  add_given_text(app, "--system", format.system, "The system message of a chat")->type_name("TEXT");
  add_chat_template_option(app, format);
}

void add_chat_template_option(CLI::App& app, ChatFormat& format) {
  add_given_text(app, "--chat-template", format.chat_template,
                 "The chat template, instead of the model's own: a Jinja file, or one of " +
                     ChatTemplate::names())
      ->type_name("FILE|NAME");
}

void check_chat_format(const ChatFormat& format) {
  if (const auto offset = find_invalid_utf8(format.system.value_or(""))) {
    fail(ErrorCode::kData, "--system is not valid UTF-8 at byte {}; convert it to UTF-8", *offset);
  }
  if (format.chat_template) ChatTemplate::from_option(*format.chat_template, {});
}

ChatTemplate open_chat_template(const ChatFormat& format, const Engine& engine) {
  if (!format.chat_template) return engine.chat_template();
  return ChatTemplate::from_option(*format.chat_template, engine.special_tokens());
}

CLI::Option_group* add_prompt_options(CLI::App& app, PromptSource& source) {
  auto* group = app.add_option_group("prompt", "Where the prompt comes from, one of");
  group->add_option("-p,--prompt", source.text, "The prompt itself")->type_name("TEXT");
  group->add_option("-f,--prompt-file,prompt-file", source.file, "A file, or - for standard input")
      ->type_name("FILE")
      ->check(not_empty("name a file, or - for standard input"));
  group
      ->add_option("--messages", source.messages_file,
                   "A JSON file: an array of {\"role\", \"content\"}, a chat so far")
      ->type_name("FILE")
      ->check(not_empty("name a file"));
  group->require_option(1);
  app.add_flag("--chat", source.chat, "The prompt is one user turn of the model's chat format");
  return group;
}

std::string read_prompt_text(const PromptSource& source, const CancelToken& cancel) {
  std::string text = source.text;
  std::string where = "the prompt";
  if (source.file == "-") {
    where = "standard input";
    text = LineReader(cancel).rest();
  } else if (!source.file.empty()) {
    where = source.file;
    text = read_text_file(source.file);
  }
  if (text.empty()) {
    fail(ErrorCode::kInvalidArgument,
         "the prompt is empty; give text with --prompt, --prompt-file or -");
  }
  if (const auto invalid = find_invalid_utf8(text)) {
    fail(ErrorCode::kData, "{} is not valid UTF-8 at byte {}; convert it to UTF-8", where,
         *invalid);
  }
  return text;
}

std::string read_whole_file(const std::string& path) {
  std::error_code error;
  if (std::filesystem::is_directory(path, error)) {
    fail(ErrorCode::kIo, "{} is a folder; name a text file", path);
  }
  std::ifstream file(path, std::ios::binary);
  if (!file) fail(ErrorCode::kIo, "cannot open {}; check the path", path);
  std::string text{std::istreambuf_iterator<char>(file), {}};
  if (file.bad()) fail(ErrorCode::kIo, "cannot read {}; check the file", path);
  return text;
}

std::string read_text_file(const std::string& path) {
  return std::string(without_byte_order_mark(read_whole_file(path)));
}

Prompt PromptReader::text(const std::string& text) {
  if (!chat_ && !format_.system && !format_.chat_template) {
    return text_prompt(engine_.tokenizer(), text);
  }
  return messages({{"user", text}});
}

Prompt PromptReader::messages(std::vector<ChatMessage> messages) {
  if (format_.system) {
    const bool has_system = std::ranges::any_of(
        messages, [](const ChatMessage& message) { return message.role == "system"; });
    if (has_system) {
      fail(ErrorCode::kInvalidArgument,
           "the messages have a system message, and --system gives another; leave one out");
    }
    messages.insert(messages.begin(), {"system", *format_.system});
  }
  if (!chat_template_) chat_template_ = open_chat_template(format_, engine_);
  return chat_prompt(engine_.tokenizer(), *chat_template_, messages);
}

Prompt PromptReader::source(const PromptSource& source, const CancelToken& cancel) {
  if (source.messages_file.empty()) return text(read_prompt_text(source, cancel));
  return messages(
      parse_messages(read_ordered_json_file(source.messages_file, kMostJsonBytes, "mend the file"),
                     source.messages_file));
}

}  // namespace chunkllm::cli
