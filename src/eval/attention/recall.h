// The task `recall`: how much of the model's own attention a choice of chunks captures, by layer.
#pragma once

#include <memory>

#include "eval/task.h"

namespace chunkllm {

// `options.data` are texts to hide facts in; without, made-up prose. Throws Error
// (kInvalidArgument) for a budget that is no share of the tokens, or a length that has no room for
// the questions.
std::unique_ptr<EvalWork> prepare_recall(const Engine& engine, const EvalOptions& options);

}  // namespace chunkllm
