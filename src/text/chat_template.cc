#include "text/chat_template.h"

#include <unicode/uchar.h>

#include <algorithm>
#include <fstream>
#include <optional>
#include <string>

#include "base/error.h"
#include "base/json.h"
#include "text/utf8.h"

namespace chunkllm {

namespace {

constexpr const char* kBos = "<|begin_of_text|>";

// A piece, and whether the model's answer begins after it.
struct Part {
  ChatPiece piece;
  bool is_prompt_end = false;
};

void add_control(std::vector<Part>& parts, std::string text) {
  parts.push_back({{std::move(text), true}, false});
}

void add_text(std::vector<Part>& parts, std::string_view text) {
  if (!text.empty()) parts.push_back({{std::string(text), false}, false});
}

// <|begin_of_text|><|user|>TEXT<|assistant|>ANSWER<|end_of_turn|>; system messages look like the
// user's.
std::vector<Part> render_needle(const std::vector<ChatMessage>& messages,
                                bool add_generation_prompt) {
  std::vector<Part> parts;
  add_control(parts, kBos);
  for (const ChatMessage& message : messages) {
    const bool is_answer = message.role == "assistant";
    add_control(parts, is_answer ? "<|assistant|>" : "<|user|>");
    parts.back().is_prompt_end = is_answer;
    add_text(parts, message.content);
    if (is_answer) add_control(parts, "<|end_of_turn|>");
  }
  if (add_generation_prompt) {
    add_control(parts, "<|assistant|>");
    parts.back().is_prompt_end = true;
  }
  return parts;
}

// What Jinja's trim takes away, which is what Python's str.isspace() counts as white space.
bool is_trimmed(char32_t c) {
  return u_isUWhiteSpace(static_cast<UChar32>(c)) || (c >= 0x1c && c <= 0x1f);
}

std::string_view trim(std::string_view text) {
  while (!text.empty()) {
    const CodePoint c = code_point_at(text, 0);
    if (!is_trimmed(c.value)) break;
    text.remove_prefix(c.n_bytes);
  }
  while (!text.empty()) {
    const CodePoint c = code_point_before(text, text.size());
    if (!is_trimmed(c.value)) break;
    text.remove_suffix(c.n_bytes);
  }
  return text;
}

// <|start_header_id|>ROLE<|end_header_id|>, an empty line, the trimmed text, <|eot_id|>.
std::vector<Part> render_llama3(const std::vector<ChatMessage>& messages,
                                bool add_generation_prompt) {
  std::vector<Part> parts;
  const auto add_header = [&](const std::string& role) {
    add_control(parts, "<|start_header_id|>" + role + "<|end_header_id|>\n\n");
    parts.back().is_prompt_end = role == "assistant";
  };
  if (!messages.empty()) add_control(parts, kBos);
  for (const ChatMessage& message : messages) {
    add_header(message.role);
    add_text(parts, trim(message.content));
    add_control(parts, "<|eot_id|>");
  }
  if (add_generation_prompt) add_header("assistant");
  return parts;
}

std::vector<Part> render_parts(ChatFormat format, const std::vector<ChatMessage>& messages,
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
  return format == ChatFormat::kNeedle ? render_needle(messages, add_generation_prompt)
                                       : render_llama3(messages, add_generation_prompt);
}

void require_markers(const Tokenizer& tokenizer, ChatFormat format) {
  static const std::vector<std::string_view> needle = {kBos, "<|user|>", "<|assistant|>",
                                                       "<|end_of_turn|>"};
  static const std::vector<std::string_view> llama3 = {kBos, "<|start_header_id|>",
                                                       "<|end_header_id|>", "<|eot_id|>"};
  for (const std::string_view marker : format == ChatFormat::kNeedle ? needle : llama3) {
    const auto id = tokenizer.find_token(marker);
    if (!id || !tokenizer.is_special(*id)) {
      fail(ErrorCode::kUnsupported,
           "the tokenizer has no special token {}, which chats need; give raw prompts", marker);
    }
  }
}

// What tells a format apart: markers its template has, and words that change what it writes.
struct KnownTemplate {
  ChatFormat format;
  std::vector<std::string_view> markers;  // all of them, and
  std::vector<std::string_view> foreign;  // none of these
};

const std::vector<KnownTemplate>& known_templates() {
  static const std::vector<KnownTemplate> known = {
      {ChatFormat::kNeedle,
       {"<|user|>", "<|assistant|>", "<|end_of_turn|>", "add_generation_prompt"},
       {"trim", "tools", "date_string", "raise_exception", "<|system|>"}},
      {ChatFormat::kLlama3,
       {"<|start_header_id|>", "<|end_header_id|>", "<|eot_id|>", "| trim",
        "add_generation_prompt"},
       {"tools", "date_string", "raise_exception", "Cutting Knowledge"}},
  };
  return known;
}

bool has(std::string_view text, std::string_view word) {
  return text.find(word) != std::string_view::npos;
}

ChatFormat recognise(std::string_view text, const std::string& file) {
  std::optional<std::string_view> foreign_word;
  for (const KnownTemplate& known : known_templates()) {
    const auto in_text = [&](std::string_view word) { return has(text, word); };
    if (!std::ranges::all_of(known.markers, in_text)) continue;
    const auto foreign = std::ranges::find_if(known.foreign, in_text);
    if (foreign == known.foreign.end()) return known.format;
    foreign_word = *foreign;
  }
  if (foreign_word) {
    fail(ErrorCode::kUnsupported,
         "{}: the chat template also uses {}, which is not supported; give raw prompts", file,
         show_text(*foreign_word));
  }
  fail(ErrorCode::kUnsupported,
       "{}: the chat template {} is none of the known formats (needle, Llama 3); give raw prompts",
       file, show_text(text));
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
  fail(ErrorCode::kUnsupported, "{}: chat_template has no entry named default; give raw prompts",
       file);
}

}  // namespace

ChatTemplate ChatTemplate::from_folder(const std::filesystem::path& folder) {
  const std::filesystem::path config_path = folder / "tokenizer_config.json";
  const std::filesystem::path jinja_path = folder / "chat_template.jinja";
  std::error_code error;
  nlohmann::json object = nlohmann::json::object();
  if (std::filesystem::exists(config_path, error)) object = read_json_file(config_path);
  const JsonFields config(object, config_path.string());
  const bool has_own_file = std::filesystem::exists(jinja_path, error);
  if (!has_own_file && !config.has("chat_template")) {
    fail(ErrorCode::kUnsupported,
         "{} has no chat template (tokenizer_config.json or chat_template.jinja); give raw prompts",
         folder.string());
  }
  // The file of its own goes first, as in Hugging Face transformers.
  const std::string text =
      has_own_file ? read_text_file(jinja_path) : template_text(config, config_path.string());
  return ChatTemplate(recognise(text, (has_own_file ? jinja_path : config_path).string()));
}

std::vector<ChatPiece> ChatTemplate::render(const std::vector<ChatMessage>& messages,
                                            bool add_generation_prompt) const {
  std::vector<ChatPiece> pieces;
  for (Part& part : render_parts(format_, messages, add_generation_prompt)) {
    pieces.push_back(std::move(part.piece));
  }
  return pieces;
}

ChatPrompt ChatTemplate::encode(const Tokenizer& tokenizer,
                                const std::vector<ChatMessage>& messages,
                                bool add_generation_prompt) const {
  require_markers(tokenizer, format_);
  ChatPrompt prompt;
  for (const Part& part : render_parts(format_, messages, add_generation_prompt)) {
    const EncodeOptions options{.add_special_tokens = false,
                                .parse_special = part.piece.is_control};
    const std::vector<int32_t> ids = tokenizer.encode(part.piece.text, options);
    prompt.ids.insert(prompt.ids.end(), ids.begin(), ids.end());
    if (part.is_prompt_end) {
      prompt.prompt_ends.push_back(static_cast<int64_t>(prompt.ids.size()) - 1);
    }
  }
  return prompt;
}

}  // namespace chunkllm
