// The task `ppl`: perplexity of texts.
#pragma once

#include <memory>

#include "eval/task.h"

namespace chunkllm {

inline constexpr const char* kLastHalf = "last half";  // the name of a measure

// Texts are cut into windows of the given numbers of tokens, each of which begins as a text of its
// own; every token but the first is scored given those before it. The second half alone, "last
// half", is what llama.cpp's perplexity counts. Samples are windows, taken from the documents in
// turns. Throws Error: kData if no document has enough tokens, or the model has no tokenizer;
// kInvalidArgument.
std::unique_ptr<EvalWork> prepare_ppl(const Engine& engine, const EvalOptions& options);

}  // namespace chunkllm
