#include "engine/sampler.h"

#include <algorithm>
#include <cmath>

#include "base/error.h"

namespace chunkllm {

Sampler::Sampler(const SamplingOptions& options) : options_(options), rng_(options.seed) {
  if (!(options.temperature >= 0.0 && options.temperature <= 100.0)) {
    fail(ErrorCode::kInvalidArgument, "--temperature {} must lie between 0 and 100",
         options.temperature);
  }
  if (!(options.top_p > 0.0 && options.top_p <= 1.0)) {
    fail(ErrorCode::kInvalidArgument, "--top-p {} must be above 0 and at most 1", options.top_p);
  }
  if (options.top_k < 0) {
    fail(ErrorCode::kInvalidArgument, "--top-k {} must be 0 (all) or more", options.top_k);
  }
}

int32_t Sampler::sample(std::span<const float> logits) {
  if (std::ranges::any_of(logits, [](float logit) { return std::isnan(logit); })) {
    fail(ErrorCode::kData, "the model gave NaN logits; its weights cannot be right");
  }
  if (options_.temperature == 0.0) {
    return static_cast<int32_t>(std::ranges::max_element(logits) - logits.begin());
  }
  candidates_.clear();
  for (size_t i = 0; i < logits.size(); ++i) {
    candidates_.emplace_back(logits[i], static_cast<int32_t>(i));
  }
  const auto larger_first = [](const auto& a, const auto& b) {
    return a.first > b.first || (a.first == b.first && a.second < b.second);
  };
  if (options_.top_k > 0 && static_cast<size_t>(options_.top_k) < candidates_.size()) {
    std::nth_element(candidates_.begin(), candidates_.begin() + options_.top_k, candidates_.end(),
                     larger_first);
    candidates_.resize(static_cast<size_t>(options_.top_k));
  }
  std::sort(candidates_.begin(), candidates_.end(), larger_first);
  const double largest = candidates_.front().first;
  std::vector<double> cumulative;
  double sum = 0.0;
  for (const auto& [logit, id] : candidates_) {
    sum += std::exp((logit - largest) / options_.temperature);
    cumulative.push_back(sum);
  }
  const auto kept = std::ranges::lower_bound(cumulative, options_.top_p * sum);
  const size_t last =
      std::min<size_t>(static_cast<size_t>(kept - cumulative.begin()), cumulative.size() - 1);
  const auto drawn =
      std::upper_bound(cumulative.begin(), cumulative.begin() + static_cast<ptrdiff_t>(last),
                       rng_.uniform() * cumulative[last]);
  return candidates_[static_cast<size_t>(drawn - cumulative.begin())].second;
}

}  // namespace chunkllm
