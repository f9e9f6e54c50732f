#include "text/chat/chat_template.h"

#include <algorithm>
#include <charconv>
#include <fstream>

#include "base/error.h"
#include "base/json.h"
#include "text/chat/known_templates.h"
#include "text/utf8.h"

namespace chunkllm {

namespace {

constexpr const char* kConfigFile = "tokenizer_config.json";
constexpr const char* kTemplateFile = "chat_template.jinja";
constexpr const char* kTemplateJsonFile = "chat_template.json";
constexpr const char* kTokensFile = "special_tokens_map.json";

// What to do about a model without a template.
std::string advice() {
  return "give one with --chat-template FILE, or a known one with --chat-template NAME (" +
         ChatTemplate::names() + ")";
}

bool has_invalid_utf8(const nlohmann::ordered_json& json) {
  if (json.is_string()) return find_invalid_utf8(json.get_ref<const std::string&>()).has_value();
  if (!json.is_structured()) return false;
  return std::ranges::any_of(json.items(), [](const auto& item) {
    return find_invalid_utf8(item.key()).has_value() || has_invalid_utf8(item.value());
  });
}

void check_messages(const std::vector<ChatMessage>& messages) {
  for (size_t i = 0; i < messages.size(); ++i) {
    const ChatMessage& message = messages[i];
    // The role may be a part of the template's markers, so it can be no text of anybody's.
    if (!is_chat_role(message.role)) {
      fail(ErrorCode::kInvalidArgument, "message {}: the role {} is none of {}", i + 1,
           show_text(message.role), kChatRoles);
    }
    if (const auto offset = find_invalid_utf8(message.content)) {
      fail(ErrorCode::kData,
           "message {}, of the role {}, is not valid UTF-8 at byte {}; convert it to UTF-8", i + 1,
           message.role, *offset);
    }
    if (has_invalid_utf8(message.given)) {
      fail(ErrorCode::kData, "message {}, of the role {}, is not valid UTF-8; convert it to UTF-8",
           i + 1, message.role);
    }
  }
}

// Of what somebody wrote that is no message's.
constexpr uint32_t kGiven = 0xffffffff;

// The number of the message that wrote what stands at this place of the input, counted from 1; 0
// for its role, of which there are few, and for the special tokens' texts.
uint32_t origin_of(std::string_view place) {
  constexpr std::string_view kMessages = "/messages/";
  if (place.ends_with("_token") && std::ranges::count(place, '/') == 1) return 0;
  if (!place.starts_with(kMessages)) return kGiven;
  uint32_t index = 0;
  const char* end = place.data() + place.size();
  const auto [stop, error] = std::from_chars(place.data() + kMessages.size(), end, index);
  return error != std::errc() || std::string_view(stop, end) == "/role" ? 0 : index + 1;
}

// The bytes that no message wrote.
std::vector<ByteRange> control_ranges(const jinja::MarkedText& text) {
  std::vector<ByteRange> control;
  size_t begin = 0;
  for (const jinja::Mark& mark : text.marks) {
    if (mark.begin > begin) control.push_back({begin, mark.begin});
    begin = mark.end;
  }
  if (text.bytes.size() > begin) control.push_back({begin, text.bytes.size()});
  return control;
}

// Of tokens that tile a text, those with a byte outside the control ranges.
std::vector<Range> written_tokens(const std::vector<TokenSpan>& spans,
                                  const std::vector<ByteRange>& control) {
  std::vector<Range> written;
  auto range = control.begin();
  for (int64_t i = 0; i < std::ssize(spans); ++i) {
    const auto begin = static_cast<size_t>(spans[static_cast<size_t>(i)].begin);
    const auto end = static_cast<size_t>(spans[static_cast<size_t>(i)].end);
    while (range != control.end() && range->end <= begin) ++range;
    const bool is_control = range != control.end() && range->begin <= begin && end <= range->end;
    if (begin < end && !is_control) append_merged(written, {i, i + 1});
  }
  return written;
}

// The first token that begins at or after this byte.
int64_t token_at(const std::vector<TokenSpan>& spans, size_t offset) {
  const auto it =
      std::ranges::lower_bound(spans, static_cast<int64_t>(offset), {}, &TokenSpan::begin);
  return it - spans.begin();
}

// The end of the text that message `index` wrote; nothing if none of it is there.
std::optional<size_t> end_of_message(const jinja::MarkedText& text, size_t index) {
  std::optional<size_t> end;
  for (const jinja::Mark& mark : text.marks) {
    if (mark.origin == index + 1) end = mark.end;
  }
  return end;
}

// Bytes [begin, end) of the text taken out.
void cut(jinja::MarkedText& text, size_t begin, size_t end) {
  text.bytes.erase(begin, end - begin);
  const auto moved = [&](size_t offset) {
    return offset <= begin ? offset : std::max(offset, end) - (end - begin);
  };
  for (jinja::Mark& mark : text.marks) mark = {moved(mark.begin), moved(mark.end), mark.origin};
  std::erase_if(text.marks, [](const jinja::Mark& mark) { return mark.begin == mark.end; });
}

bool lacks_content(const nlohmann::ordered_json& message) {
  return !message.contains("content") || message["content"].is_null();
}

// The first message without a content, of those that call no tool if there is one.
std::optional<size_t> message_without_content(const nlohmann::ordered_json& messages) {
  std::optional<size_t> first;
  for (size_t i = 0; i < messages.size(); ++i) {
    if (!lacks_content(messages[i])) continue;
    if (!messages[i].contains("tool_calls")) return i;
    if (!first) first = i;
  }
  return first;
}

std::string read_file(const std::filesystem::path& path) {
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

// The file in which a folder has its template.
std::optional<std::filesystem::path> find_template_file(const std::filesystem::path& folder) {
  std::error_code error;
  // A file of its own goes first, as in Hugging Face transformers.
  if (std::filesystem::exists(folder / kTemplateFile, error)) return folder / kTemplateFile;
  for (const char* name : {kConfigFile, kTemplateJsonFile}) {
    if (!std::filesystem::exists(folder / name, error)) continue;
    const nlohmann::json object = read_json_file(folder / name);
    if (JsonFields(object, (folder / name).string()).has("chat_template")) return folder / name;
  }
  return std::nullopt;
}

std::tm local_time() {
  const std::time_t now = std::time(nullptr);
  std::tm time = {};
  ::localtime_r(&now, &time);
  return time;
}

}  // namespace

bool is_chat_role(std::string_view role) {
  return role == "system" || role == "user" || role == "assistant" || role == "tool";
}

ChatTemplate::ChatTemplate(std::string_view source, const std::string& where,
                           SpecialTokens special_tokens)
    : template_(source, where),
      source_(source),
      special_tokens_(std::move(special_tokens)),
      now_(local_time()) {}

ChatTemplate ChatTemplate::named(std::string_view name) {
  for (const KnownTemplate& known : known_templates()) {
    if (known.name != name) continue;
    ChatTemplate chat_template(known.source, "--chat-template " + std::string(name), {});
    chat_template.name_ = known.name;
    return chat_template;
  }
  fail(ErrorCode::kInvalidArgument,
       "there is no chat template {}, neither a file nor a known one; choose one of {}",
       show_text(name), names());
}

ChatTemplate ChatTemplate::from_option(const std::string& name_or_file,
                                       const SpecialTokens& special_tokens) {
  const bool is_known =
      std::ranges::any_of(known_templates(), [&](const auto& t) { return t.name == name_or_file; });
  std::error_code error;
  if (is_known || !std::filesystem::exists(name_or_file, error)) return named(name_or_file);
  if (std::filesystem::is_directory(name_or_file, error)) {
    fail(ErrorCode::kInvalidArgument, "--chat-template: {} is a folder; name a file",
         show_text(name_or_file));
  }
  return from_text(read_file(name_or_file), name_or_file, special_tokens);
}

std::string ChatTemplate::names() {
  std::string list;
  for (const KnownTemplate& known : known_templates()) {
    if (!list.empty()) list += ", ";
    list += known.name;
  }
  return list;
}

std::optional<std::string> read_chat_template(const std::filesystem::path& folder) {
  const auto file = find_template_file(folder);
  if (!file) return std::nullopt;
  if (file->filename() == kTemplateFile) return read_file(*file);
  const nlohmann::json object = read_json_file(*file);
  return template_text(JsonFields(object, file->string()), file->string());
}

SpecialTokens read_special_tokens(const std::filesystem::path& folder) {
  SpecialTokens tokens;
  std::error_code error;
  for (const char* name : {kConfigFile, kTokensFile}) {
    if (!std::filesystem::exists(folder / name, error)) continue;
    const nlohmann::json object = read_json_file(folder / name);
    const JsonFields fields(object, (folder / name).string());
    for (const auto& [key, value] : object.items()) {
      if (!key.ends_with("_token") || tokens.contains(key)) continue;
      // A text, or {"content": text}; others, such as add_bos_token, are no tokens.
      if (value.is_string()) tokens[key] = value.get<std::string>();
      if (value.is_object() && value.contains("content") && value["content"].is_string()) {
        tokens[key] = value["content"].get<std::string>();
      }
    }
  }
  return tokens;
}

ChatTemplate ChatTemplate::with(const nlohmann::ordered_json& variables) const {
  ChatTemplate copy = *this;
  for (const auto& [name, value] : variables.items()) {
    if (name == "messages" || name == "add_generation_prompt" || name.ends_with("_token")) {
      fail(ErrorCode::kInvalidArgument,
           "the chat template's variable {} cannot be given; leave it "
           "out",
           show_text(name));
    }
    if (has_invalid_utf8(value)) {
      fail(ErrorCode::kData, "the chat template's variable {} is not valid UTF-8; convert it",
           show_text(name));
    }
    copy.given_[name] = value;
  }
  return copy;
}

ChatTemplate ChatTemplate::from_folder(const std::filesystem::path& folder) {
  const auto file = find_template_file(folder);
  if (!file) {
    fail(ErrorCode::kUnsupported, "{} has no chat template ({} or {}); {}", folder.string(),
         kConfigFile, kTemplateFile, advice());
  }
  return from_text(read_chat_template(folder), file->string(), read_special_tokens(folder));
}

ChatTemplate ChatTemplate::from_text(const std::optional<std::string>& text,
                                     const std::string& where,
                                     const SpecialTokens& special_tokens) {
  if (!text) fail(ErrorCode::kUnsupported, "{} has no chat template; {}", where, advice());
  return ChatTemplate(*text, where, special_tokens);
}

jinja::MarkedText ChatTemplate::render_marked(const std::vector<ChatMessage>& messages,
                                              bool add_generation_prompt) const {
  nlohmann::ordered_json variables = {{"messages", nlohmann::ordered_json::array()},
                                      {"tools", nullptr},
                                      {"documents", nullptr},
                                      {"add_generation_prompt", add_generation_prompt}};
  for (const ChatMessage& message : messages) {
    if (message.given.is_null()) {
      variables["messages"].push_back({{"role", message.role}, {"content", message.content}});
    } else {
      variables["messages"].push_back(message.given);
    }
  }
  for (const auto& [name, value] : given_.items()) variables[name] = value;
  for (const auto& [name, text] : special_tokens_) variables[name] = text;
  try {
    return template_.render(variables, now_, origin_of);
  } catch (const Error& error) {
    const std::optional<size_t> empty = message_without_content(variables["messages"]);
    if (empty && renders_with_contents(variables)) {
      fail(error.code(),
           "message {}, of the role {}, has no content, and the chat template needs one; give it a "
           "text ({})",
           *empty + 1, messages[*empty].role, error.what());
    }
    throw;
  }
}

bool ChatTemplate::renders_with_contents(nlohmann::ordered_json variables) const {
  for (nlohmann::ordered_json& message : variables["messages"]) {
    if (lacks_content(message)) message["content"] = "";
  }
  try {
    template_.render(variables, now_, origin_of);
    return true;
  } catch (const Error&) {
    return false;
  }
}

std::vector<ChatPiece> ChatTemplate::render(const std::vector<ChatMessage>& messages,
                                            bool add_generation_prompt) const {
  check_messages(messages);
  const jinja::MarkedText text = render_marked(messages, add_generation_prompt);
  std::vector<ChatPiece> pieces;
  size_t begin = 0;
  const auto add = [&](size_t end, bool is_control) {
    if (end > begin) pieces.push_back({text.bytes.substr(begin, end - begin), is_control});
    begin = end;
  };
  for (const jinja::Mark& mark : text.marks) {
    add(mark.begin, true);
    add(mark.end, false);
  }
  add(text.bytes.size(), true);
  return pieces;
}

std::vector<std::optional<size_t>> ChatTemplate::answer_begins(
    const std::vector<ChatMessage>& messages, const std::string& whole) const {
  std::vector<std::optional<size_t>> begins;
  for (size_t i = 0; i < messages.size(); ++i) {
    if (messages[i].role != "assistant") continue;
    begins.emplace_back();
    try {
      const std::vector<ChatMessage> before(messages.begin(),
                                            messages.begin() + static_cast<ptrdiff_t>(i));
      const std::string prompt = render_marked(before, true).bytes;
      if (!prompt.empty() && whole.starts_with(prompt)) begins.back() = prompt.size();
    } catch (const Error&) {
      continue;  // a chat that cannot end there was no prompt
    }
  }
  return begins;
}

void ChatTemplate::require_tokens(const Tokenizer& tokenizer) const {
  for (const KnownTemplate& known : known_templates()) {
    if (known.name != name_) continue;
    for (const std::string_view marker : known.special_tokens) {
      const auto id = tokenizer.find_token(marker);
      if (id && tokenizer.is_special(*id)) continue;
      fail(ErrorCode::kUnsupported,
           "the tokenizer has no special token {}, which the chat template {} needs; {}", marker,
           name_, advice());
    }
  }
}

ChatPrompt ChatTemplate::encode(const Tokenizer& tokenizer,
                                const std::vector<ChatMessage>& messages,
                                bool add_generation_prompt) const {
  check_messages(messages);
  require_tokens(tokenizer);
  const jinja::MarkedText text = render_marked(messages, add_generation_prompt);
  ChatPrompt prompt;
  const std::vector<ByteRange> control = control_ranges(text);
  prompt.spans = tokenizer.encode_marked(text.bytes, control);
  for (const TokenSpan& span : prompt.spans) prompt.ids.push_back(span.id);
  prompt.written = written_tokens(prompt.spans, control);
  std::vector<std::optional<size_t>> begins = answer_begins(messages, text.bytes);
  if (add_generation_prompt) begins.emplace_back(text.bytes.size());
  for (const auto& begin : begins) {
    if (!begin) continue;
    const int64_t end = token_at(prompt.spans, *begin) - 1;
    const bool is_next = prompt.prompt_ends.empty() || end > prompt.prompt_ends.back();
    if (end >= 0 && is_next) prompt.prompt_ends.push_back(end);
  }
  return prompt;
}

ChatPrompt ChatTemplate::encode_with_answers(
    const Tokenizer& tokenizer, const std::vector<ChatMessage>& messages,
    const std::vector<std::vector<int32_t>>& answers) const {
  check_messages(messages);
  require_tokens(tokenizer);
  jinja::MarkedText text = render_marked(messages, true);
  const std::vector<std::optional<size_t>> begins = answer_begins(messages, text.bytes);
  // Answers are taken out of the text, from the last to the first, so that nothing of them joins a
  // token beside it; their tokens are put in where they stood.
  struct Place {
    size_t begin;
    const std::vector<int32_t>* ids;  // null: the answer stayed in the text
  };
  std::vector<Place> places;
  size_t k = begins.size();
  for (size_t i = messages.size(); i-- > 0;) {
    if (messages[i].role != "assistant") continue;
    --k;
    if (!begins[k]) continue;
    const size_t n_bytes = messages[i].content.size();
    const bool is_as_given = text.bytes.compare(*begins[k], n_bytes, messages[i].content) == 0;
    if (is_as_given) {
      cut(text, *begins[k], *begins[k] + n_bytes);
      for (Place& place : places) place.begin -= n_bytes;
    }
    places.push_back({*begins[k], is_as_given ? &answers[k] : nullptr});
  }
  const std::vector<TokenSpan> spans = tokenizer.encode_marked(text.bytes, control_ranges(text));
  ChatPrompt prompt;
  int64_t copied = 0;
  const auto copy_until = [&](int64_t end) {
    for (; copied < end; ++copied) prompt.ids.push_back(spans[static_cast<size_t>(copied)].id);
  };
  const auto end_prompt = [&] {
    const int64_t end = std::ssize(prompt.ids) - 1;
    const bool is_next = prompt.prompt_ends.empty() || end > prompt.prompt_ends.back();
    if (end >= 0 && is_next) prompt.prompt_ends.push_back(end);
  };
  for (size_t i = places.size(); i-- > 0;) {
    const int64_t next = token_at(spans, places[i].begin);
    const bool is_between =
        next == 0 ||
        static_cast<size_t>(spans[static_cast<size_t>(next) - 1].end) <= places[i].begin;
    if (places[i].ids != nullptr && !is_between) return encode(tokenizer, messages, true);
    copy_until(next);
    end_prompt();
    if (places[i].ids != nullptr) {
      prompt.ids.insert(prompt.ids.end(), places[i].ids->begin(), places[i].ids->end());
    }
  }
  copy_until(std::ssize(spans));
  end_prompt();
  return prompt;
}

std::optional<int32_t> ChatTemplate::turn_end(const Tokenizer& tokenizer) const {
  // A chat that ends with an answer, and one that goes on, for templates that end a turn only then.
  std::vector<ChatMessage> messages = {{"user", "Hello."}, {"assistant", "Good morning."}};
  for (int n_tries = 0; n_tries < 2; ++n_tries) {
    try {
      const jinja::MarkedText text = render_marked(messages, false);
      const std::optional<size_t> end = end_of_message(text, 1);
      if (end) {
        const auto spans = tokenizer.encode_marked(text.bytes, control_ranges(text));
        for (auto i = static_cast<size_t>(token_at(spans, *end)); i < spans.size(); ++i) {
          if (tokenizer.is_special(spans[i].id)) return spans[i].id;
        }
      }
    } catch (const Error&) {
      // A template that refuses this chat does not say how one ends.
    }
    messages.push_back({"user", "Thanks."});
  }
  return std::nullopt;
}

}  // namespace chunkllm
