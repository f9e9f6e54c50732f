// The policy `meankey`: chunks by the mean of the model's own keys, without adapters.
#pragma once

#include "select/keys/own_keys_policy.h"
#include "select/policy.h"

namespace chunkllm {

// Chunks end where sentences and lines do, by the tokens' marks, and at special tokens; what stands
// for one is the mean of its keys after rotary embedding.
class MeanKeyPolicy : public OwnKeysPolicy {
 public:
  // `special_ids` and `token_marks` must outlive it.
  MeanKeyPolicy(const ModelConfig& model, const SelectionSettings& settings,
                std::span<const int32_t> special_ids, std::span<const uint8_t> token_marks);

  // Bytes that its index takes at `n_tokens`, foretold at one chunk every 16 tokens.
  static int64_t index_bytes(const ModelConfig& model, int64_t n_tokens);
  // A block holds a chunk at least.
  static BlockNeeds block_needs();

  // What stands for a chunk: the mean of its keys.
  static const KeyForm kForm;
};

}  // namespace chunkllm
