// The table of families. Each is a constant with a file of its own here.
#pragma once

#include "model/architecture.h"

namespace chunkllm {

extern const Architecture kLlama;
extern const Architecture kMistral;
extern const Architecture kQwen2;
extern const Architecture kQwen3;
extern const Architecture kGemma3;

// Of families with the same GGUF architecture the first reads such files.
inline constexpr const Architecture* kArchitectures[] = {&kLlama, &kMistral, &kQwen2, &kQwen3,
                                                         &kGemma3};

}  // namespace chunkllm
