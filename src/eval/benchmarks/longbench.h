// The task `longbench`: LongBench's lines with its own prompts.
#pragma once

#include <memory>

#include "eval/task.h"

namespace chunkllm {

// The folder of a run that holds LongBench's form of predictions,
// pred/COLUMN/DATASET.jsonl.
inline constexpr const char* kPredictionsFolder = "pred";

// A sample is a line; its score is that of the best of its answers by the dataset's metric. Each
// dataset's score stands beside the score by its name. Prompts that are longer than a length lose
// their middle. Throws Error as read_longbench() and read_longbench_prompts() do; kInvalidArgument
// for a length that an answer fills.
std::unique_ptr<EvalWork> prepare_longbench(const Engine& engine, const EvalOptions& options);

}  // namespace chunkllm
