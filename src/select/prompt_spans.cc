#include "select/prompt_spans.h"

#include <algorithm>
#include <iterator>

namespace chunkllm {

void PromptSpans::add(Range positions, std::span<const int64_t> ends) {
  ends_.insert(ends_.end(), ends.begin(), ends.end());
  if (prefill_ != PrefillKind::kFull) return;
  int64_t begin = positions.begin;
  for (const int64_t end : ends) {
    append_merged(full_, {begin, end});
    begin = end + 1;
  }
  append_merged(full_, {begin, positions.end});
}

bool PromptSpans::is_end(int64_t position) const {
  return std::ranges::binary_search(ends_, position);
}

int64_t PromptSpans::full_end(int64_t position) const {
  const auto after = std::ranges::upper_bound(full_, position, {}, &Range::begin);
  if (after == full_.begin()) return position;
  const Range& range = *std::prev(after);
  return range.contains(position) ? range.end : position;
}

int64_t PromptSpans::next_full(int64_t position, int64_t limit) const {
  const auto after = std::ranges::upper_bound(full_, position, {}, &Range::begin);
  return after == full_.end() ? limit : std::min(after->begin, limit);
}

void PromptSpans::truncate(int64_t n) {
  std::erase_if(ends_, [&](int64_t end) { return end >= n; });
  for (Range& range : full_) range.end = std::min(range.end, n);
  std::erase_if(full_, [](const Range& range) { return range.empty(); });
}

}  // namespace chunkllm
