// Training sequences of random tokens.
#pragma once

#include "base/random.h"
#include "train/sequences.h"

namespace chunkllm {

// Boundaries at about every eighth token, one prompt end near the end with two tokens of an answer
// after it, one random query.
inline TrainingSequence random_sequence(int64_t n_vocab, int64_t n_tokens, uint64_t seed = 4) {
  Rng rng(seed);
  TrainingSequence sequence;
  for (int64_t t = 0; t < n_tokens; ++t) {
    sequence.ids.push_back(static_cast<int32_t>(rng.below(n_vocab)));
    sequence.labels.push_back(rng.uniform() < 0.12 ? 1 : 0);
  }
  sequence.prompt_ends = {n_tokens - 3};
  sequence.answers = {n_tokens - 2, n_tokens - 1};
  sequence.random_queries = {n_tokens / 2};
  return sequence;
}

}  // namespace chunkllm
