#include "select/prompt_spans.h"

#include <algorithm>
#include <iterator>

namespace chunkllm {
namespace {

int64_t begin_of(const PromptSpan& prompt) { return prompt.positions.begin; }

}  // namespace

void PromptSpans::append(Range positions, bool has_end) {
  if (positions.empty()) return;
  if (!spans_.empty() && !spans_.back().has_end && spans_.back().positions.end == positions.begin) {
    spans_.back().positions.end = positions.end;
    spans_.back().has_end = has_end;
  } else {
    spans_.push_back({positions, has_end});
  }
}

void PromptSpans::add(Range positions, std::span<const int64_t> ends) {
  int64_t begin = positions.begin;
  for (const int64_t end : ends) {
    append({begin, end + 1}, true);
    begin = end + 1;
  }
  append({begin, positions.end}, false);
}

const PromptSpan* PromptSpans::find(int64_t position) const {
  const auto after = std::ranges::upper_bound(spans_, position, {}, begin_of);
  if (after == spans_.begin()) return nullptr;
  const PromptSpan& prompt = *std::prev(after);
  return prompt.positions.contains(position) ? &prompt : nullptr;
}

bool PromptSpans::is_end(int64_t position) const {
  const PromptSpan* prompt = find(position);
  return prompt != nullptr && prompt->has_end && prompt->positions.end == position + 1;
}

int64_t PromptSpans::next_begin(int64_t position, int64_t limit) const {
  const auto after = std::ranges::upper_bound(spans_, position, {}, begin_of);
  return after == spans_.end() ? limit : std::min(begin_of(*after), limit);
}

Range PromptSpans::everything_in(const PromptSpan& prompt) const {
  const auto [begin, end] = prompt.positions;
  const int64_t last = prompt.has_end ? end - 1 : end;
  if (prefill_ == PrefillKind::kFull) return {begin, last};
  return {prompt.has_end ? std::max(begin, last - tail_) : end, last};
}

bool PromptSpans::attends_to_everything(int64_t position) const {
  const PromptSpan* prompt = find(position);
  return prompt != nullptr && everything_in(*prompt).contains(position);
}

// A cut before a prompt end takes its tail away.
int64_t PromptSpans::first_changed(int64_t n) const {
  const PromptSpan* prompt = find(n - 1);
  const bool loses_end = prompt != nullptr && prompt->has_end && prompt->positions.end > n;
  if (!loses_end || prefill_ == PrefillKind::kFull) return n;
  return std::min(n, everything_in(*prompt).begin);
}

void PromptSpans::truncate(int64_t n) {
  std::erase_if(spans_, [n](const PromptSpan& prompt) { return begin_of(prompt) >= n; });
  if (spans_.empty() || spans_.back().positions.end <= n) return;
  spans_.back() = {{begin_of(spans_.back()), n}, false};
}

}  // namespace chunkllm
