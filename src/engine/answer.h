// An answer as it grows: which token comes next, the text so far, and where it ends.
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "engine/sampler.h"
#include "engine/stop_strings.h"
#include "text/tokenizer/tokenizer.h"

namespace chunkllm {

struct AnswerOptions {
  int64_t max_tokens = 128;
  SamplingOptions sampling = {};
  std::vector<int32_t> eos_ids = {};    // end the answer; not part of its text
  std::vector<std::string> stops = {};  // texts that end the answer before them
  int64_t min_tokens = 0;               // before so many nothing ends it
};

// Knows nothing of models: whoever runs the tokens gives it their logits. One thread at a time.
class Answer {
 public:
  // `n_logits` ids can be chosen, but for those that no token of the tokenizer has. Throws Error
  // (kInvalidArgument).
  Answer(const Tokenizer& tokenizer, const AnswerOptions& options, int32_t n_logits);

  // Chooses a token by the logits that follow `history`, prompt and answer so far, and returns it
  // if it must run for the answer to go on; nothing once the answer is complete. Throws Error
  // (kData) for logits that are none.
  std::optional<int32_t> next(std::span<const float> logits, std::span<const int32_t> history);

  // The text that became complete since the last call: valid UTF-8.
  std::string take_text();

  bool is_done() const { return !finish_reason_.empty(); }
  const std::string& finish_reason() const { return finish_reason_; }  // "stop" or "length"
  // What ended it, if that was a text of `stops`, or a token of `eos_ids`.
  const std::optional<std::string>& stop_string() const { return stops_.stop(); }
  const std::optional<int32_t>& stop_token() const { return stop_token_; }
  // Those of the answer's text, without the one that ended it.
  const std::vector<int32_t>& ids() const { return ids_; }
  int64_t n_generated() const { return n_generated_; }  // the one that ended it included
  const Sampler& sampler() const { return sampler_; }

 private:
  bool is_end(int32_t token) const;
  void finish(std::string reason);

  AnswerOptions options_;
  Sampler sampler_;
  StreamDecoder decoder_;
  StopStrings stops_;
  std::vector<int32_t> ids_;
  std::string text_;
  std::string finish_reason_;
  std::optional<int32_t> stop_token_;
  int64_t n_generated_ = 0;
};

}  // namespace chunkllm
