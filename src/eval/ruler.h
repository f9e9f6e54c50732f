// The task `ruler`: RULER's own lines.
#pragma once

#include <memory>
#include <span>
#include <string_view>
#include <vector>

#include "data/ruler/ruler.h"
#include "eval/reading.h"
#include "eval/task.h"

namespace chunkllm {

// The prompts of the data's lines (data/ruler/lines.h), answered and scored as RULER does. A sample
// is a line; lines of one length go together, which is the least of --ctx that their field `length`
// does not exceed, or without --ctx the power of two. A note says how many are longer than all of
// --ctx, and so left out. Throws Error: as read_ruler_lines() does; kInvalidArgument without data
// or if no line is left; kData naming a line whose prompt and answer exceed the model's positions.
std::unique_ptr<EvalWork> prepare_ruler(const Engine& engine, const EvalOptions& options);

// The cell of one text: its score is the mean over the questions and counts once, the measure of
// the task counts each question. The details have the questions and answers.
CellResult cell_of_retrieval(std::string_view task, std::span<const RetrievalQuestion> questions,
                             const ColumnAnswers& answers);

}  // namespace chunkllm
