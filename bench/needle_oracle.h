// What a selection that knows the teacher finds: an upper bound for trained adapters.
#pragma once

#include <cstdint>
#include <span>
#include <string>

#include "engine/session.h"
#include "select/settings.h"

namespace chunkllm {

struct OracleAnswer {
  std::string text;
  RetentionCount retention;
};

// Answers a prompt with every selection made from the backbone's own attention: each refresh takes
// the chunks that receive most attention, in a dense pass over the prompt and the dense answer,
// from the tokens that use the selection. Chunks end where the engine's adapter ends them.
OracleAnswer ask_oracle(const Engine& engine, std::span<const int32_t> prompt,
                        const KvBudget& budget, int64_t max_tokens);

}  // namespace chunkllm
