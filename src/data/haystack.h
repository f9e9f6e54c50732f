// A text that hides facts, cut to a number of tokens, and the prompts that ask about it.
#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <string_view>
#include <vector>

#include "base/random.h"
#include "data/prompt_maker.h"
#include "data/tasks.h"
#include "engine/engine.h"
#include "engine/generate.h"
#include "engine/prompt.h"

namespace chunkllm {

// A document and a prompt for each of its questions; all prompts begin with the document.
struct Haystack {
  TaskDocument document;
  std::vector<Prompt> prompts;
  int64_t longest = 0;  // tokens of the longest prompt
};

// Calls `make` with ever fewer bytes, from `n_bytes` on, and each time with the same state of
// `rng`, until the tokens that it returns are at most `ctx`. Throws Error (kInvalidArgument) if
// nothing fits.
void fit_to_tokens(Rng& rng, int64_t ctx, int64_t n_bytes,
                   const std::function<int64_t(Rng& rng, int64_t n_bytes)>& make);

// At most `n_bytes` of the text, to the end of a sentence; all of a text without such an end there.
std::string_view whole_sentences(std::string_view text, int64_t n_bytes);

// Makes haystacks for a model. Refers to the engine and the text, which must outlive it. Immutable:
// the same Rng gives the same haystack.
class HaystackMaker {
 public:
  // `text` hides the facts; empty: made-up prose does. Throws Error (kData) if it is no valid
  // UTF-8, or if the model has no tokenizer.
  HaystackMaker(const Engine& engine, std::string_view text);

  // Prompts are a chat's, or plain text where the model has no chat template.
  bool has_chat() const { return prompts_.has_chat(); }

  // `n_bytes` of the text, from the begin of a sentence and going round, or at least so many of
  // made-up text.
  std::string passage(Rng& rng, int64_t n_bytes) const;

  // The document that `make` gives for some number of bytes, shrunk from `n_bytes` on until its
  // longest prompt has at most `ctx` tokens. Throws Error (kInvalidArgument) if nothing fits.
  Haystack fit(Rng& rng, int64_t ctx, int64_t n_bytes,
               const std::function<TaskDocument(Rng& rng, int64_t n_bytes)>& make) const;

  // Greedy answers of at most `max_tokens` to its prompts.
  GenerateOptions answer_options(int64_t max_tokens) const {
    return prompts_.answer_options(max_tokens);
  }

 private:
  Prompt prompt(const std::string& text, const std::string& question) const;

  PromptMaker prompts_;
  std::string_view text_;
  std::vector<int64_t> ends_;  // of the text's sentences; its begin where it has none
};

// What answers took.
struct AnswerCost {
  RetentionCount decode;  // counted over the passes that yield tokens
  PrefillCount prefill;   // of the prompt tokens that ran
  int64_t n_prefilled = 0;
  double prefill_seconds = 0;
  int64_t n_decoded = 0;
  double decode_seconds = 0;

  void add(const GenerateResult& result);
};

}  // namespace chunkllm
