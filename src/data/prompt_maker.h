// Prompts of a text and a question, as a model takes them.
#pragma once

#include <cstdint>
#include <optional>
#include <string>

#include "engine/engine.h"
#include "engine/generate.h"
#include "engine/prompt.h"

namespace chunkllm {

// Refers to the engine, which must outlive it. Immutable; any thread may call it.
class PromptMaker {
 public:
  // Throws Error (kData) if the model has no tokenizer.
  explicit PromptMaker(const Engine& engine);

  // Prompts are a chat's, or plain text where the model has no chat template.
  bool has_chat() const { return chat_.has_value(); }

  // Asks `user` in the model's chat template, with `system` before it, as a message of its own
  // where the template has such messages; empty: without. In plain text both stand one after the
  // other, and `lead` after them.
  Prompt ask(const std::string& system, const std::string& user, const std::string& lead) const;
  // Asks `user`, where the model goes on from the first words of its answer.
  Prompt begun(const std::string& user, const std::string& answer_begin) const;
  // The text alone, whatever the model.
  Prompt plain(const std::string& text) const;

  // Greedy answers of at most `max_tokens`; in plain text they end with the line.
  GenerateOptions answer_options(int64_t max_tokens) const;

 private:
  const Engine& engine_;
  std::optional<ChatTemplate> chat_;
  bool has_system_ = false;  // the template takes system messages
};

}  // namespace chunkllm
