// Answers as clients expect them: OpenAI's shapes, with what vLLM and llama.cpp add.
#pragma once

#include <cstdint>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <vector>

#include "serve/request.h"
#include "serve/tool_calls.h"

namespace chunkllm::serve {

// {"error": {code, message, type}}, and what more the error says.
nlohmann::ordered_json error_json(int status, const std::string& type, const std::string& message);
// The HTTP status of an error and the same as JSON.
std::pair<int, nlohmann::ordered_json> error_reply(const Error& error);
// Of an event that ended a job with an error.
std::pair<int, nlohmann::ordered_json> error_reply(const Event& failed);

// The text of a token in replies: as it is, or "bytes:\xe2\x80" where it is a part of a character.
std::string token_text(const Tokenizer& tokenizer, int32_t id);

// Grows with the events of a request's jobs. Refers to the request, which must outlive it. One
// thread at a time.
class Reply {
 public:
  Reply(const RequestContext& context, const CompletionRequest& request);

  // Takes in an event that is no error's, and returns the pieces of a stream that it makes.
  std::vector<nlohmann::ordered_json> take(const Event& event);
  bool is_done() const { return n_done_ == std::ssize(choices_); }

  // All of it, once it is done.
  nlohmann::ordered_json whole() const;
  // Of a stream, once it is done: the piece with the counts, if it was asked for.
  std::optional<nlohmann::ordered_json> usage_piece() const;

 private:
  struct Choice {
    std::string text;
    std::vector<TokenChoice> prompt_tokens;  // scored, from the prompt's second token on
    std::vector<TokenChoice> tokens;         // generated ones
    int64_t n_characters = 0;  // of the text that the tokens make up, of those sent in a stream
    bool began = false;        // a stream had a piece of it
    std::optional<ToolCallReader> calls;
    Event end;
  };

  nlohmann::ordered_json frame(const char* object) const;
  nlohmann::ordered_json piece_without_text() const;
  std::vector<nlohmann::ordered_json> text_pieces(Choice& choice, size_t index, const Event& event);
  std::vector<nlohmann::ordered_json> completion_pieces(Choice& choice, size_t index,
                                                        const Event& event);
  std::vector<nlohmann::ordered_json> chat_pieces(Choice& choice, size_t index, const Event& event);
  nlohmann::ordered_json native_piece(Choice& choice, size_t index, const Event& event);
  nlohmann::ordered_json progress_piece(const Event& event) const;
  nlohmann::ordered_json chunks_piece(const Choice& choice, const Event& event) const;
  nlohmann::ordered_json completion_choice(const Choice& choice, size_t index) const;
  nlohmann::ordered_json chat_choice(const Choice& choice, size_t index) const;
  nlohmann::ordered_json native_whole(const Choice& choice, size_t index) const;
  // With a prompt, its tokens go first.
  nlohmann::ordered_json log_probs(std::span<const TokenChoice> prompt_tokens,
                                   std::span<const TokenChoice> tokens, const Prompt* prompt,
                                   int64_t& n_characters) const;
  nlohmann::ordered_json content_log_probs(std::span<const TokenChoice> tokens) const;
  nlohmann::ordered_json prompt_log_probs(const Choice& choice) const;
  nlohmann::ordered_json usage() const;
  nlohmann::ordered_json timings() const;
  nlohmann::ordered_json selection() const;
  std::string finish_reason(const Choice& choice) const;
  nlohmann::ordered_json stop_reason(const Choice& choice) const;
  std::string token_name(int32_t id) const;
  std::string prompt_text(const Prompt& prompt) const;

  const RequestContext& context_;
  const CompletionRequest& request_;
  const Tokenizer& tokenizer_;
  std::string id_;
  int64_t created_;
  std::vector<Choice> choices_;
  int64_t n_done_ = 0;
};

}  // namespace chunkllm::serve
