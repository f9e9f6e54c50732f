// The completion of a prompt, pass by pass.
#pragma once

#include <cstdint>
#include <functional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "engine/prompt.h"
#include "engine/sampler.h"
#include "engine/session.h"

namespace chunkllm {

struct GenerateOptions {
  int64_t max_tokens = 128;
  SamplingOptions sampling = {};
  std::vector<int32_t> eos_ids = {};    // end the answer; not part of its text
  bool drafts = false;                  // guesses at the next tokens are checked several at once
  bool ignores_turn_end = false;        // a prompt's turn end is never chosen and ends nothing
  std::vector<std::string> stops = {};  // texts that end the answer before them
};

// Guesses at tokens of an answer.
struct DraftCount {
  int64_t drafted_tokens = 0;
  int64_t accepted_tokens = 0;  // of those
};

struct GenerateResult {
  std::vector<int32_t> ids;   // generated, without the one that ended the answer
  std::string text;           // valid UTF-8
  std::string finish_reason;  // "stop" or "length"
  int64_t prompt_tokens = 0;
  int64_t cached_tokens = 0;     // of the prompt, that did not run because the session held them
  int64_t generated_tokens = 0;  // the one that ended the answer included
  double prefill_seconds = 0;
  double decode_seconds = 0;
  DraftCount by_lookup;      // from the text itself
  DraftCount by_policy;      // from the session's policy for drafts
  RetentionCount retention;  // over passes: less than a token each with drafts
  PrefillCount prefill;      // of the prompt tokens that ran
};

// Called with each piece of text as it becomes complete.
using OnText = std::function<void(std::string_view)>;

// Runs the prompt (its prompt ends are indices into it) and then token by token until an end token
// or max_tokens. With drafts a pass may give several tokens: each is chosen from the same logits as
// without, up to rounding, and by the same random numbers; the policy must be able to go back at no
// cost, as `full` is (kInvalidArgument). Ids of the model that no token has are never chosen. The
// session may already hold tokens. Throws Error; (kInterrupted) when cancelled.
GenerateResult generate(Session& session, const Tokenizer& tokenizer,
                        std::span<const int32_t> prompt, std::span<const int64_t> prompt_ends,
                        const GenerateOptions& options, const OnText& on_text = {},
                        const Session::Progress& progress = {},
                        const CancelToken* cancel = nullptr);

// The same for a session that becomes exactly this prompt: what it holds of the prompt already is
// kept, and all else in it is forgotten. Throws Error (kInvalidArgument), and changes nothing, if
// the prompt does not fit the session's context.
GenerateResult generate(Session& session, const Tokenizer& tokenizer, const Prompt& prompt,
                        const GenerateOptions& options, const OnText& on_text = {},
                        const Session::Progress& progress = {},
                        const CancelToken* cancel = nullptr);

}  // namespace chunkllm
