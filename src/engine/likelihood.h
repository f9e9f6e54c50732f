// How likely a text is under a model.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "base/cancel.h"
#include "engine/session.h"

namespace chunkllm {

struct Likelihood {
  std::vector<double> log_probs;  // natural, one a scored token
  RetentionCount retention;       // over the tokens that predict them

  double sum() const;
};

// The log-probabilities of tokens[first], tokens[first + 1], ..., each given all tokens before it;
// 1 <= first < tokens.size(). The session becomes a text of these tokens but the last, which
// predicts nothing; what it holds of them already is kept if it was scored as well. Tokens attend
// by the rules of generated ones, so that none knows of later ones (docs/method.md). Throws Error
// (kInvalidArgument) for another `first` or more tokens than fit; (kInterrupted) when cancelled.
Likelihood score_text(Session& session, std::span<const int32_t> tokens, int64_t first,
                      const Session::Progress& progress = {}, const CancelToken* cancel = nullptr);

// The natural logarithm of softmax(logits)[token], summed in double.
double log_softmax_at(std::span<const float> logits, int32_t token);

}  // namespace chunkllm
