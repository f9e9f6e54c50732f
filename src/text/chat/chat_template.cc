#include "text/chat/chat_template.h"

#include <algorithm>
#include <fstream>
#include <optional>
#include <string>

#include "base/error.h"
#include "base/json.h"
#include "text/chat/chat_formats.h"

namespace chunkllm {

namespace {

constexpr const char* kConfigFile = "tokenizer_config.json";
constexpr const char* kTemplateFile = "chat_template.jinja";

const ChatFormatInfo& info_of(ChatFormat format) {
  const auto formats = chat_formats();
  return *std::ranges::find(formats, format, &ChatFormatInfo::format);
}

// What to do about a template that is not known.
std::string advice() {
  return "choose a format with --chat-template NAME (" + ChatTemplate::names() +
         ") or give raw prompts";
}

std::vector<ChatPart> render_parts(ChatFormat format, const std::vector<ChatMessage>& messages,
                                   bool add_generation_prompt) {
  for (size_t i = 0; i < messages.size(); ++i) {
    const ChatMessage& message = messages[i];
    if (message.role != "system" && message.role != "user" && message.role != "assistant") {
      fail(ErrorCode::kInvalidArgument,
           "message {}: the role {} is none of system, user and assistant", i,
           show_text(message.role));
    }
    if (const auto offset = find_invalid_utf8(message.content)) {
      fail(ErrorCode::kData, "message {} is not valid UTF-8 at byte {}; convert it to UTF-8", i,
           *offset);
    }
  }
  return info_of(format).render(messages, add_generation_prompt);
}

void require_special_tokens(const Tokenizer& tokenizer, const ChatFormatInfo& info) {
  for (const std::string_view marker : info.special_tokens) {
    const auto id = tokenizer.find_token(marker);
    if (!id || !tokenizer.is_special(*id)) {
      fail(ErrorCode::kUnsupported,
           "the tokenizer has no special token {}, which the chat format {} needs; {}", marker,
           info.name, advice());
    }
  }
}

bool has(std::string_view text, std::string_view word) {
  return text.find(word) != std::string_view::npos;
}

ChatFormat recognise(std::string_view text, const std::string& file) {
  std::optional<std::string_view> foreign_word;
  for (const ChatFormatInfo& known : chat_formats()) {
    const auto in_text = [&](std::string_view word) { return has(text, word); };
    if (!std::ranges::all_of(known.markers, in_text)) continue;
    const auto foreign = std::ranges::find_if(known.foreign, in_text);
    if (foreign == known.foreign.end()) return known.format;
    foreign_word = *foreign;
  }
  if (foreign_word) {
    fail(ErrorCode::kUnsupported, "{}: the chat template also uses {}, which is not supported; {}",
         file, show_text(*foreign_word), advice());
  }
  fail(ErrorCode::kUnsupported, "{}: the chat template {} is none of the known formats; {}", file,
       show_text(text), advice());
}

std::string read_text_file(const std::filesystem::path& path) {
  constexpr std::streamsize kMaxBytes = 1 << 20;
  std::ifstream file(path, std::ios::binary);
  std::string text(kMaxBytes, '\0');
  file.read(text.data(), kMaxBytes);
  if (file) fail(ErrorCode::kData, "{} is too long for a chat template", path.string());
  if (!file.eof()) fail(ErrorCode::kIo, "cannot read {}; check its permissions", path.string());
  text.resize(static_cast<size_t>(file.gcount()));
  return text;
}

// chat_template is one template, or a list of named ones of which "default" is for chats.
std::string template_text(const JsonFields& config, const std::string& file) {
  const nlohmann::json& field = config.at("chat_template");
  if (!field.is_array()) return config.string("chat_template");
  for (const nlohmann::json& entry : field) {
    const JsonFields named(entry, file + ": chat_template");
    if (named.string("name") == "default") return named.string("template");
  }
  fail(ErrorCode::kUnsupported, "{}: chat_template has no entry named default; {}", file, advice());
}

}  // namespace

ChatTemplate ChatTemplate::named(std::string_view name) {
  for (const ChatFormatInfo& known : chat_formats()) {
    if (known.name == name) return ChatTemplate(known.format);
  }
  fail(ErrorCode::kInvalidArgument, "there is no chat format {}; choose one of {}", show_text(name),
       names());
}

std::string ChatTemplate::names() {
  std::string list;
  for (const ChatFormatInfo& known : chat_formats()) {
    if (!list.empty()) list += ", ";
    list += known.name;
  }
  return list;
}

std::optional<std::string> read_chat_template(const std::filesystem::path& folder) {
  const std::filesystem::path config_path = folder / kConfigFile;
  const std::filesystem::path jinja_path = folder / kTemplateFile;
  std::error_code error;
  // The file of its own goes first, as in Hugging Face transformers.
  if (std::filesystem::exists(jinja_path, error)) return read_text_file(jinja_path);
  if (!std::filesystem::exists(config_path, error)) return std::nullopt;
  const nlohmann::json object = read_json_file(config_path);
  const JsonFields config(object, config_path.string());
  if (!config.has("chat_template")) return std::nullopt;
  return template_text(config, config_path.string());
}

ChatTemplate ChatTemplate::from_folder(const std::filesystem::path& folder) {
  std::error_code error;
  const bool has_own_file = std::filesystem::exists(folder / kTemplateFile, error);
  const std::optional<std::string> text = read_chat_template(folder);
  if (!text) {
    fail(ErrorCode::kUnsupported, "{} has no chat template ({} or {}); {}", folder.string(),
         kConfigFile, kTemplateFile, advice());
  }
  return from_text(text, (folder / (has_own_file ? kTemplateFile : kConfigFile)).string());
}

ChatTemplate ChatTemplate::from_text(const std::optional<std::string>& text,
                                     const std::string& where) {
  if (!text) fail(ErrorCode::kUnsupported, "{} has no chat template; {}", where, advice());
  return ChatTemplate(recognise(*text, where));
}

std::vector<ChatPiece> ChatTemplate::render(const std::vector<ChatMessage>& messages,
                                            bool add_generation_prompt) const {
  std::vector<ChatPiece> pieces;
  for (ChatPart& part : render_parts(format_, messages, add_generation_prompt)) {
    pieces.push_back(std::move(part.piece));
  }
  return pieces;
}

ChatPrompt ChatTemplate::encode(const Tokenizer& tokenizer,
                                const std::vector<ChatMessage>& messages,
                                bool add_generation_prompt) const {
  require_special_tokens(tokenizer, info_of(format_));
  std::string text;
  std::vector<ByteRange> control;
  std::vector<size_t> answer_begins;
  for (const ChatPart& part : render_parts(format_, messages, add_generation_prompt)) {
    const size_t begin = text.size();
    text += part.piece.text;
    if (part.piece.is_control) control.push_back({begin, text.size()});
    if (part.is_prompt_end) answer_begins.push_back(text.size());
  }
  ChatPrompt prompt;
  prompt.spans = tokenizer.encode_marked(text, control);
  for (const TokenSpan& span : prompt.spans) prompt.ids.push_back(span.id);
  for (const size_t offset : answer_begins) {
    const auto answer =
        std::ranges::lower_bound(prompt.spans, static_cast<int64_t>(offset), {}, &TokenSpan::begin);
    prompt.prompt_ends.push_back(answer - prompt.spans.begin() - 1);
  }
  return prompt;
}

}  // namespace chunkllm
