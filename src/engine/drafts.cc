#include "engine/drafts.h"

#include <algorithm>

namespace chunkllm {

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

int64_t DraftPace::next(int64_t most) {
  if (n_plain_ < kPlainFirst || n_since_plain_ >= kDraftsPerPlain) return 0;
  if (pauses_.take()) return 0;
  return std::clamp<int64_t>(length_, 0, most);
}

void DraftPace::report_plain(double seconds) {
  constexpr double kWeight = 0.25;
  const double weight = std::max(kWeight, 1.0 / static_cast<double>(++n_plain_));
  plain_seconds_ += weight * (seconds - plain_seconds_);
  n_since_plain_ = 0;
}

void DraftPace::report(int64_t n_drafted, int64_t n_accepted, double seconds) {
  ++n_since_plain_;
  // What gains less than this is not worth the doubt.
  constexpr double kLeastGain = 1.1;
  // The pass that checks a draft gives a token of its own.
  const double plain_seconds = plain_seconds_ * static_cast<double>(n_accepted + 1);
  if (kLeastGain * seconds >= plain_seconds) {
    length_ = std::max<int64_t>(1, std::min(length_ - 1, n_accepted));
    pauses_.begin();
    return;
  }
  pauses_.halve();
  if (n_accepted == n_drafted) length_ = std::min(length_ + 1, kMost);
}

}  // namespace chunkllm
