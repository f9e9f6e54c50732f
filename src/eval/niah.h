// The task `niah`: needles in a haystack.
#pragma once

#include <memory>

#include "eval/task.h"

namespace chunkllm {

// Each haystack hides the needles of all its questions (data/ruler/needles.h) in made-up prose or
// in the texts of the data, and is read once for all of them. A sample is a haystack; a question's
// score is the share of its values that the answer has. Throws Error: kInvalidArgument for lengths
// that the needles do not fit into; as read_corpus() does.
std::unique_ptr<EvalWork> prepare_niah(const Engine& engine, const EvalOptions& options);

}  // namespace chunkllm
