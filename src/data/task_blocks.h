// Structured text with questions about it: JSON, programs, tables and dialogue.
#pragma once

#include "data/tasks.h"

namespace chunkllm {

// A JSON object of `n_pairs` keys and values, one a line, and `n_questions` about different keys.
// Keys and values are UUIDs, or in training also words and numbers. Throws Error
// (kInvalidArgument) unless 0 <= n_questions <= n_pairs.
TaskDocument make_json(Rng& rng, Forms forms, int64_t n_pairs, int64_t n_questions);

// Text of at least `n_bytes` bytes and what it takes to end well, and at most `n_questions`
// questions about different places in it, in random order. Ends with a line end.
//
// JSON: an object of keys and values, or records. Code: functions in Python, C or JavaScript.
// Table: Markdown or CSV. Dialogue: a script or a chat log. Throws Error (kInvalidArgument) for
// another kind.
TaskDocument make_block(Rng& rng, TaskKind kind, Forms forms, int64_t n_bytes, int64_t n_questions);

}  // namespace chunkllm
