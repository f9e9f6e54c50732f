// One constant a family; each has a file of its own here.
#pragma once

#include "model/architecture.h"

namespace chunkllm {

extern const Architecture kLlama;
extern const Architecture kMistral;
extern const Architecture kQwen2;
extern const Architecture kQwen3;
extern const Architecture kGemma3;

}  // namespace chunkllm
