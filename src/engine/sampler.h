// From logits to the next token.
#pragma once

#include <cstdint>
#include <span>
#include <utility>
#include <vector>

#include "base/random.h"

namespace chunkllm {

struct SamplingOptions {
  double temperature = 0.0;       // 0: the largest logit, ties to the lower id
  int64_t top_k = 0;              // keep this many of the largest; 0: all
  double top_p = 1.0;             // keep the fewest whose probabilities sum to at least this
  double min_p = 0.0;             // keep those at least this share as likely as the likeliest
  double repeat_penalty = 1.0;    // of tokens seen lately: logits above 0 are divided by it, others
                                  // multiplied (CTRL, arXiv 1909.05858)
  int64_t repeat_last_n = 64;     // how many tokens back "lately" goes; 0: none, -1: all
  double presence_penalty = 0.0;  // taken from logits of tokens that the answer has, in all
  double frequency_penalty = 0.0;                          // and for each time that it has them
  std::vector<std::pair<int32_t, float>> logit_bias = {};  // ids, and what is added to their logits
  std::vector<int32_t> banned_ids = {};                    // never chosen
  uint64_t seed = 0;
};

// The order is penalties, bias, bans, top-k, temperature, top-p, min-p. One thread at a time.
class Sampler {
 public:
  // Throws Error (kInvalidArgument) for options out of range.
  explicit Sampler(const SamplingOptions& options);

  // The next token after `history`, all tokens so far, prompt included, whose last n_answer are the
  // answer's. None of `also_banned` is chosen. Throws Error (kData) if a logit is NaN.
  int32_t sample(std::span<const float> logits, std::span<const int32_t> history = {},
                 int64_t n_answer = 0, std::span<const int32_t> also_banned = {});

 private:
  // The logits after penalties, bias and bans: `logits` itself where there are none.
  std::span<const float> adjusted(std::span<const float> logits, std::span<const int32_t> history,
                                  int64_t n_answer, std::span<const int32_t> also_banned);
  void penalise_lately(std::span<const int32_t> history);
  void penalise_answer(std::span<const int32_t> answer);
  // The logit of `id`; null if there is none.
  float* logit_of(int32_t id);

  SamplingOptions options_;
  Rng rng_;
  std::vector<std::pair<float, int32_t>> candidates_;  // reused
  std::vector<float> adjusted_;                        // reused [n_vocab]
};

}  // namespace chunkllm
