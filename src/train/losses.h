// The two losses of adapter training, with their gradients by hand. Neither needs a model.
#pragma once

#include <cstdint>
#include <span>

#include "base/range.h"

namespace chunkllm {

struct BceResult {
  double loss = 0.0;  // mean over the tokens; 0 for no tokens
};

// Binary cross-entropy of the Chunk Adapter: mean over t of -log p_t where labels[t] is 1 and
// -log(1 - p_t) where it is 0, for p_t = sigmoid(logits[t]). Exact for logits of any size.
// logits, labels and d_logits are [n_tokens]; d_logits receives the gradient of the mean and may be
// empty where only the loss is wanted. Throws Error (kInvalidArgument) on unequal sizes and on
// labels other than 0 and 1.
BceResult bce_with_logits(std::span<const float> logits, std::span<const uint8_t> labels,
                          std::span<float> d_logits);

// What one layer's QK Adapter and the teacher say about one text. Views; all float32, row-major and
// contiguous.
struct SelectionInputs {
  int64_t n_queries = 0;
  int64_t n_chunks = 0;
  int64_t n_heads = 1;  // selection heads
  int64_t adapter_dim = 0;
  const float* q_hat = nullptr;            // [n_queries, n_heads, adapter_dim]
  const float* chunk_keys = nullptr;       // [n_chunks, n_heads, adapter_dim]
  const float* teacher = nullptr;          // [n_queries, n_chunks], masses >= 0, of any sum
  std::span<const Range> eligible = {};    // [n_queries], chunk indices; an empty range is "none"
  std::span<const float> weights = {};     // [n_queries], >= 0
  std::span<const float> log_tokens = {};  // [n_chunks], of how many a chunk has; empty: of one
  // With a distance term (select/chunk/distance.h): features by distance in tokens, of which each
  // head's last component of q_hat is the weight. Those of chunk_keys must be 0 then. Else all
  // empty.
  std::span<const float> distance_features = {};  // [greatest distance + 1]
  std::span<const int64_t> positions = {};        // [n_queries]
  std::span<const int64_t> chunk_ends = {};       // [n_chunks]
};

// Where the results go; each may be null. Everything is overwritten, nothing added to.
struct SelectionOutputs {
  float* d_q_hat = nullptr;       // [n_queries, n_heads, adapter_dim]; 0 for unused queries
  float* d_chunk_keys = nullptr;  // [n_chunks, n_heads, adapter_dim]
  float* scores = nullptr;        // [n_queries, n_chunks]; -infinity where a chunk is not eligible
};

struct SelectionResult {
  double loss = 0.0;             // sum of w KL / sum of w over the used queries
  double mean_kl = 0.0;          // unweighted mean of KL over the used queries
  double teacher_entropy = 0.0;  // unweighted mean; mean_kl + teacher_entropy is the cross-entropy
  double weight_sum = 0.0;       // over the used queries
  int64_t n_used = 0;
};

constexpr int64_t kSelectionScratchBytes = int64_t{16} << 20;

// KL(teacher || p) over the eligible chunks of each query, where p is the mean over heads of
// softmax(s + log_tokens), with a head's s = q_hat . chunk_key / sqrt(adapter_dim) in float32,
// where a distance term takes the place of the last component, and the teacher is renormalised over
// the same chunks. So s is the logarithm of a chunk's mass per token: `scores` receives that of p
// (with one head s itself, which differs by a constant of the query). A query is used if its
// eligible teacher mass and its weight are positive. With no used query the loss and the gradients
// are 0. Scores that are not finite give a loss and gradients that are not finite either. Runs on
// all threads, one call at a time; the result is the same bit for bit at the same number of
// threads. Queries are taken in tiles whose scores fill at most max_scratch_bytes (at least one
// row). Throws Error: kInvalidArgument on sizes, ranges or weights that do not fit, kData on a
// teacher mass that is negative or not finite.
SelectionResult selection_loss(const SelectionInputs& inputs, const SelectionOutputs& outputs,
                               int64_t max_scratch_bytes = kSelectionScratchBytes);

}  // namespace chunkllm
