// What of a prompt a session, or a saved cache, holds already.
#pragma once

#include <cstdint>
#include <span>

#include "engine/prompt.h"
#include "engine/session.h"

namespace chunkllm {

// The longest prefix of `prompt` that tokens of these origins serve under the settings, up to the
// first token that differs or came in otherwise, or, among the first `n_done`, which ran, attends
// to everything in the tail of a prompt in one of both alone.
int64_t common_prefix(const Prompt& prompt, std::span<const int32_t> tokens,
                      std::span<const Session::Origin> origins, int64_t n_done,
                      const SessionOptions& options);

// Makes `session` go on to be exactly this prompt, as generate() wants it: what it holds of the
// prompt already is kept, but for the last token, all else in it is forgotten, and the rest of the
// prompt waits to run. Returns the tokens that are done. Throws Error (kInvalidArgument), and
// changes nothing, if the prompt does not fit the session's context.
int64_t begin_prompt(Session& session, const Prompt& prompt);

// Fills the empty session `to` with what `from`, of the same engine and type of KV cache, holds of
// `prompt`: as if a cache of `from` was saved and loaded. All tokens of `from` must have run. The
// caller knows that both read prompts alike; full attention may copy from any session whose prompts
// were read in full. Returns the tokens that `to` then has done.
int64_t copy_prefix(const Session& from, const Prompt& prompt, Session& to);

}  // namespace chunkllm
