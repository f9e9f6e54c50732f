// What a session takes, foretold from shapes before anything of it is allocated.
#pragma once

#include <cstdint>

#include "engine/engine.h"
#include "engine/session.h"

namespace chunkllm {

// Memory a session takes beyond the weights, in bytes.
struct SessionMemory {
  int64_t kv_bytes = 0;
  int64_t workspace_bytes = 0;
  int64_t chunk_index_bytes = 0;  // of the policy, or that of drafts
  int64_t total_bytes() const { return kv_bytes + workspace_bytes + chunk_index_bytes; }
};
// `adapter` is that of the policy, or of the one for drafts; null if there is none.
SessionMemory session_memory(const ModelConfig& config, const AdapterConfig* adapter,
                             const SessionOptions& options);

// Throws Error (kMemory) with the numbers if the machine has less than the session needs, the
// weights included where they are not loaded yet; (kInvalidArgument) for a context of no tokens.
// Session's constructor does the same.
void require_session_memory(const Engine& engine, const SessionOptions& options);

// The room for a block and for the tokens that wait.
BlockNeeds block_needs(const Engine& engine, const SessionOptions& options);

}  // namespace chunkllm
