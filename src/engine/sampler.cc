#include "engine/sampler.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <map>
#include <set>

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
  if (!(options.min_p >= 0.0 && options.min_p <= 1.0)) {
    fail(ErrorCode::kInvalidArgument, "--min-p {} must lie between 0 and 1", options.min_p);
  }
  if (!(options.repeat_penalty > 0.0 && options.repeat_penalty <= 100.0)) {
    fail(ErrorCode::kInvalidArgument, "--repeat-penalty {} must be above 0 and at most 100",
         options.repeat_penalty);
  }
  if (options.repeat_last_n < -1) {
    fail(ErrorCode::kInvalidArgument, "--repeat-last-n {} must be -1 (all), 0 (none) or more",
         options.repeat_last_n);
  }
  for (const auto& [name, penalty] : {std::pair("presence_penalty", options.presence_penalty),
                                      std::pair("frequency_penalty", options.frequency_penalty)}) {
    if (!(penalty >= -2.0 && penalty <= 2.0)) {
      fail(ErrorCode::kInvalidArgument, "{} {} must lie between -2 and 2", name, penalty);
    }
  }
}

float* Sampler::logit_of(int32_t id) {
  return id >= 0 && static_cast<size_t>(id) < adjusted_.size() ? &adjusted_[static_cast<size_t>(id)]
                                                               : nullptr;
}

void Sampler::penalise_lately(std::span<const int32_t> history) {
  const auto n_history = std::ssize(history);
  const int64_t n_lately =
      options_.repeat_last_n < 0 ? n_history : std::min<int64_t>(options_.repeat_last_n, n_history);
  const auto lately = history.last(static_cast<size_t>(n_lately));
  const auto penalty = static_cast<float>(options_.repeat_penalty);
  for (const int32_t id : std::set<int32_t>(lately.begin(), lately.end())) {
    float* logit = logit_of(id);
    if (logit != nullptr) *logit = *logit > 0 ? *logit / penalty : *logit * penalty;
  }
}

void Sampler::penalise_answer(std::span<const int32_t> answer) {
  std::map<int32_t, int64_t> counts;
  for (const int32_t id : answer) ++counts[id];
  for (const auto& [id, n] : counts) {
    if (float* logit = logit_of(id)) {
      *logit -= static_cast<float>(options_.presence_penalty +
                                   options_.frequency_penalty * static_cast<double>(n));
    }
  }
}

std::span<const float> Sampler::adjusted(std::span<const float> logits,
                                         std::span<const int32_t> history, int64_t n_answer,
                                         std::span<const int32_t> also_banned) {
  const bool penalises_lately = options_.repeat_penalty != 1.0 && options_.repeat_last_n != 0;
  const bool penalises_answer =
      options_.presence_penalty != 0.0 || options_.frequency_penalty != 0.0;
  if (!penalises_lately && !penalises_answer && options_.logit_bias.empty() &&
      options_.banned_ids.empty() && also_banned.empty()) {
    return logits;
  }
  adjusted_.assign(logits.begin(), logits.end());
  if (penalises_lately) penalise_lately(history);
  if (penalises_answer) penalise_answer(history.last(static_cast<size_t>(n_answer)));
  for (const auto& [id, bias] : options_.logit_bias) {
    if (float* logit = logit_of(id)) *logit += bias;
  }
  for (const std::span<const int32_t> banned :
       {std::span<const int32_t>(options_.banned_ids), also_banned}) {
    for (const int32_t id : banned) {
      if (float* logit = logit_of(id)) *logit = -std::numeric_limits<float>::infinity();
    }
  }
  return adjusted_;
}

int32_t Sampler::sample(std::span<const float> logits, std::span<const int32_t> history,
                        int64_t n_answer, std::span<const int32_t> also_banned) {
  if (std::ranges::any_of(logits, [](float logit) { return std::isnan(logit); })) {
    fail(ErrorCode::kData, "the model gave NaN logits; its weights cannot be right");
  }
  logits = adjusted(logits, history, n_answer, also_banned);
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
  size_t last =
      std::min<size_t>(static_cast<size_t>(kept - cumulative.begin()), cumulative.size() - 1);
  // The likeliest has weight 1 here, so that min-p is a bound on the weights themselves.
  while (last > 0 && cumulative[last] - cumulative[last - 1] < options_.min_p) --last;
  const auto drawn =
      std::upper_bound(cumulative.begin(), cumulative.begin() + static_cast<ptrdiff_t>(last),
                       rng_.uniform() * cumulative[last]);
  return candidates_[static_cast<size_t>(drawn - cumulative.begin())].second;
}

}  // namespace chunkllm
