#include "engine/likelihood.h"

#include <algorithm>
#include <cmath>
#include <numeric>

#include "base/error.h"
#include "base/thread_pool.h"

namespace chunkllm {

double Likelihood::sum() const { return std::accumulate(log_probs.begin(), log_probs.end(), 0.0); }

double log_softmax_at(std::span<const float> logits, int32_t token) {
  const float largest = *std::ranges::max_element(logits);
  double sum = 0;
  for (const float logit : logits) sum += std::exp(logit - largest);
  return static_cast<double>(logits[static_cast<size_t>(token)]) - static_cast<double>(largest) -
         std::log(sum);
}

Likelihood score_text(Session& session, std::span<const int32_t> tokens, int64_t first,
                      const Session::Progress& progress, const CancelToken* cancel) {
  const auto n = static_cast<int64_t>(tokens.size());
  if (first < 1 || first >= n) {
    fail(ErrorCode::kInvalidArgument,
         "of a text of {} tokens none can be scored from token {} on; give a longer text", n,
         first);
  }
  session.check_fits(n - 1);
  int64_t n_kept = 0;
  const int64_t most = std::min(first - 1, session.n_tokens());
  const auto is_kept = [&](int64_t t) {
    const auto i = static_cast<size_t>(t);
    return session.tokens()[i] == tokens[i] && session.origins()[i] == Session::Origin::kGenerated;
  };
  while (n_kept < most && is_kept(n_kept)) ++n_kept;
  session.rewind(n_kept);

  Likelihood likelihood;
  likelihood.log_probs.resize(static_cast<size_t>(n - first));
  const auto on_logits = [&](Range positions, std::span<const float> logits) {
    const auto n_vocab = static_cast<int64_t>(logits.size()) / positions.size();
    parallel_for(positions.size(), 1, [&](int64_t begin, int64_t end, int) {
      for (int64_t i = begin; i < end; ++i) {
        const int64_t next = positions.begin + i + 1;
        likelihood.log_probs[static_cast<size_t>(next - first)] = log_softmax_at(
            logits.subspan(static_cast<size_t>(i * n_vocab), static_cast<size_t>(n_vocab)),
            tokens[static_cast<size_t>(next)]);
      }
    });
  };
  session.score(tokens.subspan(static_cast<size_t>(n_kept), static_cast<size_t>(n - 1 - n_kept)),
                first - 1, on_logits, likelihood.retention, progress, cancel);
  return likelihood;
}

}  // namespace chunkllm
