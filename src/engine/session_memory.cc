#include "engine/session_memory.h"

#include <algorithm>

#include "base/error.h"
#include "base/memory.h"
#include "select/chunk/remainder.h"
#include "select/chunk/token_lookup.h"

namespace chunkllm {
namespace {

// Without the adapter that it needs a policy is refused when it is made.
bool has_shape(const PolicyShape& shape, const PolicyEntry& policy) {
  return !policy.needs_adapter() || shape.adapter != nullptr;
}

BlockNeeds block_needs_of(const PolicyShape& shape, const SessionOptions& options) {
  const PolicyEntry& policy = *options.policy;
  BlockNeeds needs;
  if (policy.block_needs != nullptr && has_shape(shape, policy)) needs = policy.block_needs(shape);
  needs.least_tokens = std::max(needs.least_tokens, options.block_tokens);
  needs.waiting_tokens = std::min(needs.waiting_tokens, options.ctx);
  return needs;
}

const AdapterConfig* adapter_config(const Engine& engine, const SessionOptions& options) {
  const Adapter* adapter = adapter_for(options.choosing_policy(), engine.adapters());
  return adapter != nullptr ? &adapter->config : nullptr;
}

}  // namespace

BlockNeeds block_needs(const Engine& engine, const SessionOptions& options) {
  return block_needs_of({engine.config(), adapter_config(engine, options)}, options);
}

SessionMemory session_memory(const ModelConfig& config, const AdapterConfig* adapter,
                             const SessionOptions& options) {
  SessionMemory memory;
  memory.kv_bytes = options.ctx * kv_bytes_per_position(config, options.kv_type);
  if (options.kv_storage.in_file()) {
    memory.kv_bytes = std::min(memory.kv_bytes, options.kv_storage.resident_bytes);
  }
  const PolicyShape shape{config, adapter};
  const BlockNeeds needs = block_needs_of(shape, options);
  memory.workspace_bytes =
      Transformer::workspace_bytes(config, needs.least_tokens, needs.waiting_tokens);
  const PolicyEntry& policy = options.choosing_policy();
  if (options.draft_policy != nullptr) {
    memory.workspace_bytes += DraftSelection::foretold_bytes(config, needs.least_tokens);
  }
  if (policy.index_bytes != nullptr && has_shape(shape, policy)) {
    memory.chunk_index_bytes = policy.index_bytes(shape, options.ctx);
  }
  if (options.selection.remainder && options.draft_policy == nullptr &&
      policy.reads(Setting::kRemainder)) {
    memory.chunk_index_bytes +=
        config.n_layers * ChunkSums::foretold_bytes(config.kv_dim(), options.ctx);
  }
  if (options.selection.lookup && policy.reads(Setting::kLookup)) {
    memory.chunk_index_bytes += TokenLookup::foretold_bytes(options.ctx);
  }
  return memory;
}

void require_session_memory(const Engine& engine, const SessionOptions& options) {
  if (options.ctx < 1) {
    fail(ErrorCode::kInvalidArgument, "{} {} must be at least 1", options.ctx_options, options.ctx);
  }
  const bool smallest =
      options.kv_type == KvType::kQ8_0 || !kv_type_fits(KvType::kQ8_0, engine.config().head_dim);
  const std::string advice =
      fmt::format("try {}a smaller {}", smallest ? "" : "--kv-type q8_0 or ", options.ctx_options);
  const std::string cache = fmt::format("the KV cache at {} tokens", options.ctx);
  const int64_t session_bytes =
      session_memory(engine.config(), adapter_config(engine, options), options).total_bytes();
  require_memory(session_bytes, cache, advice);
  if (engine.has_weights()) return;
  require_memory(session_bytes + engine.weights_bytes(), "the weights and " + cache, advice);
}

}  // namespace chunkllm
