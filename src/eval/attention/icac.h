// The task `icac`: whether the tokens of a chunk attend to the same chunks, by layer.
#pragma once

#include <memory>

#include "eval/task.h"

namespace chunkllm {

// Texts are those of `options.data`; without, made-up prose, dialogue, code and JSON in turns.
// Throws Error as prepare_ppl() does, and (kInvalidArgument) for a budget that is no share of the
// tokens.
std::unique_ptr<EvalWork> prepare_icac(const Engine& engine, const EvalOptions& options);

}  // namespace chunkllm
