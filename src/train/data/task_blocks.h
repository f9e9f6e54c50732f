// Structured text with questions about it: JSON, programs, tables and dialogue.
#pragma once

#include "train/data/tasks.h"

namespace chunkllm {

// A JSON object of `n_pairs` keys and values, one a line, and `n_questions` about different keys.
// Keys and values are UUIDs, or in training also words and numbers. Throws Error
// (kInvalidArgument) unless 0 <= n_questions <= n_pairs.
TaskDocument make_json(Rng& rng, Forms forms, int64_t n_pairs, int64_t n_questions);

}  // namespace chunkllm
