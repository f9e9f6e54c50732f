// Conversations about a text that hides facts: where prompts end is what recall looks at.
#pragma once

#include <cstdint>
#include <optional>

#include "base/random.h"
#include "data/haystack.h"
#include "engine/engine.h"
#include "engine/prompt.h"

namespace chunkllm {

// Makes conversations for a model: a text and a question, its answer, the next question, and so on
// to the last, which is not answered. Refers to engine and haystacks. Immutable: the same Rng gives
// the same conversation.
class QuestionTexts {
 public:
  QuestionTexts(const Engine& engine, const HaystackMaker& haystacks);

  // At most `ctx` tokens, as many as fit; `n_questions` in wordings that no adapter was trained on.
  // In turns of the model's chat, or as plain text with "Question:" and "Answer:" where it has
  // none. Throws Error (kInvalidArgument) if nothing fits.
  Prompt make(Rng& rng, int64_t ctx, int64_t n_questions) const;

 private:
  Prompt encode(const TaskDocument& document) const;
  Prompt encode_chat(const TaskDocument& document) const;
  Prompt encode_plain(const TaskDocument& document) const;

  const Engine& engine_;
  const HaystackMaker& haystacks_;
  std::optional<ChatTemplate> chat_;
};

}  // namespace chunkllm
