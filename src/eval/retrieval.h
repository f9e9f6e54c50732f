// The task `retrieval`: RULER's tasks, made here, and pairs in JSON.
#pragma once

#include <memory>

#include "eval/task.h"

namespace chunkllm {

// Texts by data/ruler/ruler.h, each read once for all questions about it, so long that prompt and
// answer fit into the length. A sample is a text of one task and counts once in the score; the
// measure of a task counts questions. Essays are made-up prose or the texts of the data, which may
// also have files of SQuAD and HotpotQA (.json): without them a note says which tasks are left out.
// Throws Error: kInvalidArgument for lengths that a task does not fit into, a task that there is
// not, or if none is left; as read_corpus() and read_qa_set() do.
std::unique_ptr<EvalWork> prepare_retrieval(const Engine& engine, const EvalOptions& options);

}  // namespace chunkllm
