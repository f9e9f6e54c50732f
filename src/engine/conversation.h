// A chat held turn by turn, kept as the tokens that were shown.
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "engine/engine.h"
#include "engine/prompt.h"

namespace chunkllm {

// Messages so far, with the tokens of each answer as they were generated: text alone may encode in
// another way, and what a session holds of it would be lost. Refers to an engine, which must
// outlive it. One thread at a time.
class Conversation {
 public:
  Conversation(const Engine& engine, ChatTemplate chat_template)
      : engine_(engine), chat_template_(chat_template) {}

  // The conversation so far, one more message of the user, and the begin of an answer. Changes
  // nothing. Throws Error.
  Prompt prompt(const std::string& user) const;

  // Adds a message of the user and its answer: `shown`, the text that was shown, and `ids`, what
  // was generated, of which only the tokens that make up `shown` are kept.
  void add(const std::string& user, std::string_view shown, std::span<const int32_t> ids);

  // Sets the system message, which may be empty; nothing: there is none.
  void set_system(std::optional<std::string> system) { system_ = std::move(system); }
  // Forgets all messages but the system's.
  void clear();

 private:
  struct Turn {
    std::string user;
    std::string answer;
    std::vector<int32_t> answer_ids;
  };

  const Engine& engine_;
  ChatTemplate chat_template_;
  std::optional<std::string> system_;
  std::vector<Turn> turns_;
};

// Tokens whose text is `shown`: those of `ids` as far as they go along with it, special ones, which
// are never shown, left out; then the rest of `shown` encoded anew. `shown` must be valid UTF-8.
std::vector<int32_t> tokens_of_shown(const Tokenizer& tokenizer, std::span<const int32_t> ids,
                                     std::string_view shown);

}  // namespace chunkllm
