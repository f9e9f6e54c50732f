// Requests for completions: their fields, checked, and the jobs that answer them.
#pragma once

#include <cstdint>
#include <memory>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <vector>

#include "base/error.h"
#include "engine/engine.h"
#include "serve/job.h"
#include "text/chat/chat_template.h"

namespace chunkllm::serve {

// What requests are read with. Refers to the engine, which must outlive it.
struct RequestContext {
  const Engine& engine;
  SessionOptions session;  // where a request says nothing else; ctx is a slot's
  std::optional<ChatTemplate> chat_template = {};  // nothing: there are no chats
  std::string chat_template_error = {};            // why
  std::string model_name = {};
  std::optional<std::chrono::seconds> time_limit = {};  // of each request
  int64_t max_choices = 128;                            // of one request
};

// A prompt that the context cannot hold.
class PromptTooLong : public Error {
 public:
  PromptTooLong(int64_t n_tokens, int64_t ctx);
  int64_t n_prompt_tokens;
  int64_t n_ctx;
};

// Who asks in which words.
enum class Dialect {
  kCompletion,  // POST /v1/completions
  kChat,        // POST /v1/chat/completions
  kNative,      // llama.cpp's POST /completion
  kRuler,       // PUT /generate
};

struct ToolUse {
  // Of the functions that are offered: calls of these in the answer's text are told apart.
  std::vector<std::string> names = {};
  std::string begun = {};  // the first words of the call that the answer must be
};

struct CompletionRequest {
  Dialect dialect = Dialect::kCompletion;
  // A choice each, in the order of the reply: n for the first prompt, n for the second, ...
  std::vector<std::shared_ptr<Job>> jobs = {};
  std::shared_ptr<Mailbox> mailbox = std::make_shared<Mailbox>();
  bool streams = false;
  bool include_usage = false;      // a last piece of a stream with the counts
  bool return_chunks = false;      // pieces of a stream that say what is attended to
  bool return_progress = false;    // pieces of a stream that say how far the prompt is
  bool echo = false;               // the prompt is part of the text
  int64_t n_logprobs = -1;         // likeliest tokens beside each one; -1: no log-probabilities
  int64_t n_prompt_logprobs = -1;  // the same of prompts, in a field of their own
  bool return_token_ids = false;
  bool tokens_as_token_ids = false;  // "token_id:17" in place of a token's text
  std::vector<int32_t> stop_token_ids = {};
  ToolUse tools = {};
};

// Reads the body of a request. Throws PromptTooLong, and Error (kInvalidArgument, kData,
// kUnsupported) that says which field cannot be used.
CompletionRequest parse_request(const RequestContext& context, Dialect dialect,
                                const std::string& body);

// What the fields `policy`, `kv_budget` and `top_k_chunks` of a body choose of the selection.
// Throws Error (kInvalidArgument).
SessionOptions parse_selection(const RequestContext& context, const nlohmann::json& body);

// The messages of a chat as the template takes them: contents of typed parts are joined, arguments
// of calls become objects, members that are no text are left out. Throws Error (kData).
std::vector<ChatMessage> parse_chat_messages(const nlohmann::ordered_json& messages);

// A body that must be a JSON object. Throws Error (kData).
nlohmann::ordered_json parse_body(const std::string& body);

}  // namespace chunkllm::serve
