// The task `leval`: L-Eval's documents with their questions.
#pragma once

#include <memory>

#include "eval/task.h"

namespace chunkllm {

// Each document is read once for all its questions. A sample is a document; a question's score is
// L-Eval's exact match, of open tasks F1 or ROUGE-L, whichever L-Eval takes. The score is over the
// questions of closed tasks, without any over all; each task's stands beside it by its name, and
// those of open questions as "f1" and "rouge-l". Documents that are longer than a length lose words
// at their end. Throws Error as read_leval() does; kInvalidArgument for a length that has no place
// for a question.
std::unique_ptr<EvalWork> prepare_leval(const Engine& engine, const EvalOptions& options);

}  // namespace chunkllm
