// Chat messages to the prompt that a model was trained on, as the model's own template writes it.
#pragma once

#include <cstdint>
#include <ctime>
#include <filesystem>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/range.h"
#include "text/chat/jinja/template.h"
#include "text/tokenizer/tokenizer.h"

namespace chunkllm {

struct ChatMessage {
  std::string role;     // "system", "user", "assistant" or "tool"
  std::string content;  // empty where there is none
  // The message as it was given, an object, where that is more or other than role and content: the
  // template sees its members in their order. Null: just the two.
  nlohmann::ordered_json given = nullptr;
};

// The roles that there are, as a list for messages to users.
inline constexpr std::string_view kChatRoles = "system, user, assistant and tool";
bool is_chat_role(std::string_view role);

// A piece of a rendered prompt: text of the template, or text somebody wrote.
struct ChatPiece {
  std::string text;
  bool is_control = false;  // special tokens in it are control; in the others they are plain text
};

struct ChatPrompt {
  std::vector<int32_t> ids;
  std::vector<TokenSpan> spans;  // the same with the bytes of the rendered text
  // Index of the last token before each assistant answer, ascending. An answer has none where the
  // template writes what comes before it in another way once it is there: all of it is prompt then.
  std::vector<int64_t> prompt_ends;
  // Tokens that stand for something that somebody wrote, not for the template's text alone;
  // ascending and disjoint.
  std::vector<Range> written;
};

// The texts of a model's special tokens, as a template knows them: "bos_token", "eos_token", ...
using SpecialTokens = std::map<std::string, std::string>;

// Immutable; copies share the template. Its clock stands still from when it was made.
class ChatTemplate {
 public:
  // Reads chat_template.jinja, chat_template of tokenizer_config.json, or chat_template.json.
  // Throws Error (kUnsupported) if there is none, (kData) if it is no template.
  static ChatTemplate from_folder(const std::filesystem::path& folder);
  // The same of a template's text, or of none; `where` names its file.
  static ChatTemplate from_text(const std::optional<std::string>& text, const std::string& where,
                                const SpecialTokens& special_tokens);
  // What --chat-template says: one of names(), or else a file with a template. Throws Error
  // (kInvalidArgument) with the names there are.
  static ChatTemplate from_option(const std::string& name_or_file,
                                  const SpecialTokens& special_tokens);
  // The known template with this name. Throws Error (kInvalidArgument) with the names there are.
  static ChatTemplate named(std::string_view name);
  // The names of the known templates, for help and messages: "chatml, gemma, ...".
  static std::string names();

  // Its text.
  const std::string& source() const { return source_; }

  // The same template with variables beside the messages, an object: "tools", "documents" and what
  // else a template asks for. Markers in their texts stay text. Throws Error (kInvalidArgument) for
  // names that have a meaning of their own.
  ChatTemplate with(const nlohmann::ordered_json& variables) const;

  // The pieces, whose texts concatenated equal what Hugging Face transformers gives.
  // `add_generation_prompt` ends them with what the model answers after. Throws Error (kData,
  // kUnsupported, kInvalidArgument) on messages that cannot be written.
  std::vector<ChatPiece> render(const std::vector<ChatMessage>& messages,
                                bool add_generation_prompt) const;

  // Tokenises the pieces as one text, without the post-processor (the template writes BOS itself).
  // Markers in what somebody wrote stay text. Throws Error.
  ChatPrompt encode(const Tokenizer& tokenizer, const std::vector<ChatMessage>& messages,
                    bool add_generation_prompt) const;

  // The same, but earlier answers that stand in the prompt as they were given keep their tokens:
  // `answers` has one list for each assistant message, whose text its tokens make up. `spans` and
  // `written` may be empty.
  ChatPrompt encode_with_answers(const Tokenizer& tokenizer,
                                 const std::vector<ChatMessage>& messages,
                                 const std::vector<std::vector<int32_t>>& answers) const;

  // The token that the template puts after an answer, which therefore ends one; nothing if there is
  // no such token, or the template does not say.
  std::optional<int32_t> turn_end(const Tokenizer& tokenizer) const;

 private:
  ChatTemplate(std::string_view source, const std::string& where, SpecialTokens special_tokens);
  jinja::MarkedText render_marked(const std::vector<ChatMessage>& messages,
                                  bool add_generation_prompt) const;
  // Whether what could not be written can be where each message has a content.
  bool renders_with_contents(nlohmann::ordered_json variables) const;
  // The byte at which each assistant message's answer begins, or nothing.
  std::vector<std::optional<size_t>> answer_begins(const std::vector<ChatMessage>& messages,
                                                   const std::string& whole) const;
  void require_tokens(const Tokenizer& tokenizer) const;

  jinja::Template template_;
  std::string source_;
  SpecialTokens special_tokens_;
  nlohmann::ordered_json given_ = nlohmann::ordered_json::object();  // variables of with()
  std::tm now_ = {};
  std::string_view name_;  // of a known template
};

// The text of the template that from_folder() reads, or nothing if there is none. Throws Error
// (kIo, kData, kUnsupported).
std::optional<std::string> read_chat_template(const std::filesystem::path& folder);

// The special tokens that tokenizer_config.json names, else special_tokens_map.json. Throws Error
// (kIo, kData).
SpecialTokens read_special_tokens(const std::filesystem::path& folder);

}  // namespace chunkllm
