#include "engine/drafts.h"

#include <algorithm>

namespace chunkllm {
namespace {

// The n-th value of a running mean, of all at first and then of the latest ones.
void follow(double& mean, double value, int64_t n) {
  constexpr double kLeastWeight = 0.25;
  mean += std::max(kLeastWeight, 1.0 / static_cast<double>(n)) * (value - mean);
}

}  // namespace

std::span<const int32_t> LookupDrafts::next(std::span<const int32_t> before, int32_t token,
                                            int64_t most) {
  lookup_.extend(0, before);
  lookup_.extend(std::ssize(before), {&token, 1});
  if (pauses_.take()) return {};
  const int64_t place = lookup_.best_place();
  if (place < 0) return {};
  const int64_t n = std::min({most, length_, lookup_.n_tokens() - 1 - place});
  return lookup_.tokens().subspan(static_cast<size_t>(place + 1),
                                  static_cast<size_t>(std::max<int64_t>(n, 0)));
}

void LookupDrafts::report(int64_t n_drafted, int64_t n_accepted) {
  // Rows beside others cost about half a pass where memory does not set the pace.
  if (2 * n_accepted < n_drafted) {
    length_ = std::max((length_ - 1) / 2, kLeast);
    pauses_.begin();
    return;
  }
  pauses_.forget();
  if (n_accepted == n_drafted) length_ = std::min(2 * length_ + 1, kMost);
}

void DraftAccount::add_pass(int64_t n_drafted, double making_seconds, double checking_seconds) {
  double checking = 0;
  if (n_drafted == 0) {
    follow(plain_seconds_, checking_seconds, ++n_plain_);
  } else {
    // A token takes no more than a pass of its own; what seems to was some other program.
    const auto n = static_cast<double>(n_drafted);
    checking = std::clamp(in_passes(checking_seconds) - 1.0, 0.0, n);
    follow(checking_, checking / n, ++n_checked_);
  }
  add_to_balance(kShare - in_passes(making_seconds) - checking);
}

void DraftAccount::add_accepted(int64_t n_tokens) {
  add_to_balance((1.0 + kShare) * static_cast<double>(n_tokens));
}

void DraftAccount::add_to_balance(double passes) {
  balance_ = std::clamp(balance_ + passes, -kFirstBalance, kMostBalance);
}

int64_t DraftAccount::affordable(double making) const {
  if (n_plain_ == 0 || balance_ <= 0) return 0;
  return static_cast<int64_t>(balance_ / std::max(making + checking_, 1e-3));
}

int64_t DraftPace::next(int64_t most) {
  if (!account_.is_known() || n_since_plain_ >= kDraftsPerPlain || pauses_.take()) return 0;
  return std::max<int64_t>(0, std::min({length_, most, account_.affordable(making_)}));
}

void DraftPace::report(int64_t n_drafted, int64_t n_accepted, double making_seconds,
                       double checking_seconds) {
  ++n_since_plain_;
  follow(making_, account_.in_passes(making_seconds) / static_cast<double>(n_drafted),
         ++n_reports_);
  // The pass that checks a draft gives a token of its own.
  const double passes = account_.in_passes(making_seconds + checking_seconds);
  if (kLeastGain * passes >= static_cast<double>(n_accepted + 1)) {
    length_ = std::max<int64_t>(1, std::min(length_ - 1, n_accepted));
    pauses_.begin();
    return;
  }
  pauses_.halve();
  if (n_accepted == n_drafted) length_ = std::min(length_ + 1, kMost);
}

bool DraftPace::is_hopeless() const {
  const double passes_a_token = making_ + account_.checking();
  return n_reports_ >= kLeastReports && kLeastGain * (1.0 + kMost * passes_a_token) >= 1.0 + kMost;
}

}  // namespace chunkllm
