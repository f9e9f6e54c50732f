// Contexts made up of random keys and values, so that speed at a depth can be measured without
// running all the tokens before it.
#pragma once

#include <cstdint>

#include "engine/session.h"

namespace chunkllm {

// Fills an empty session with `n_tokens` made-up tokens, the last of them a prompt end; what is
// computed after them means nothing, but takes the time that it would take after real ones. Under
// `chunk` a chunk ends every kMeanSentenceTokens tokens. Throws Error: (kInvalidArgument) if the
// session is not empty, the tokens do not fit, or the refresh of a prompt is not at its end and
// boundaries.
void fill_with_noise(Session& session, int64_t n_tokens, uint64_t seed);

}  // namespace chunkllm
