// The policy `quest`: pages by bounds on the scores of their keys (Quest, arXiv 2406.10774).
#pragma once

#include "select/keys/own_keys_policy.h"
#include "select/policy.h"

namespace chunkllm {

// Chunks are pages of 16 tokens, and every token chooses for itself. A page keeps the greatest and
// the least of each feature of its keys, which bound the score of any of them:
//   scale sum_i max(q_i greatest_i, q_i least_i)
// The first two layers attend to everything, as in the paper. There each head has pages of its own;
// here the heads of a layer share theirs, by the mean over heads of the softmax of the bounds.
class QuestPolicy : public OwnKeysPolicy {
 public:
  static constexpr int64_t kPageTokens = 16;
  static constexpr int64_t kDenseLayers = 2;

  QuestPolicy(const ModelConfig& model, const SelectionSettings& settings);

  // Bytes that its index takes at `n_tokens`.
  static int64_t index_bytes(const ModelConfig& model, int64_t n_tokens);

  bool selects(int64_t layer) const override { return layer >= kDenseLayers; }

  // What stands for a page: its bounds.
  static const KeyForm kForm;
};

}  // namespace chunkllm
