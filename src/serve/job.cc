#include "serve/job.h"

#include <algorithm>
#include <cmath>
#include <numeric>

namespace chunkllm::serve {

TokenChoice token_choice(std::span<const float> logits, int32_t id, int64_t n_top) {
  TokenChoice choice{.id = id};
  const float largest = *std::ranges::max_element(logits);
  double sum = 0;
  for (const float logit : logits) sum += std::exp(logit - largest);
  const double log_sum = static_cast<double>(largest) + std::log(sum);
  const auto log_prob = [&](int32_t i) {
    return static_cast<double>(logits[static_cast<size_t>(i)]) - log_sum;
  };
  choice.log_prob = log_prob(id);
  const float own = logits[static_cast<size_t>(id)];
  choice.rank += std::ranges::count_if(logits, [own](float logit) { return logit > own; });
  const auto n = static_cast<size_t>(std::clamp<int64_t>(n_top, 0, std::ssize(logits)));
  if (n == 0) return choice;
  std::vector<int32_t> ids(logits.size());
  std::iota(ids.begin(), ids.end(), 0);
  const auto likelier = [&](int32_t a, int32_t b) {
    const float x = logits[static_cast<size_t>(a)];
    const float y = logits[static_cast<size_t>(b)];
    return x > y || (x == y && a < b);
  };
  std::partial_sort(ids.begin(), ids.begin() + static_cast<ptrdiff_t>(n), ids.end(), likelier);
  for (size_t i = 0; i < n; ++i) choice.top.emplace_back(ids[i], log_prob(ids[i]));
  return choice;
}

void Mailbox::push(Event event) {
  {
    const std::lock_guard lock(mutex_);
    events_.push_back(std::move(event));
  }
  arrived_.notify_one();
}

std::optional<Event> Mailbox::wait(std::chrono::milliseconds time) {
  std::unique_lock lock(mutex_);
  if (!arrived_.wait_for(lock, time, [&] { return !events_.empty(); })) return std::nullopt;
  Event event = std::move(events_.front());
  events_.pop_front();
  return event;
}

}  // namespace chunkllm::serve
