#include "select/separator.h"

#include <algorithm>

#include "select/chunk/token_marks.h"

namespace chunkllm {

SeparatorPolicy::SeparatorPolicy(const SelectionSettings& settings,
                                 std::span<const uint8_t> token_marks)
    : token_marks_(token_marks),
      sink_(settings.sink.value_or(kDefaultSink)),
      window_(settings.window.value_or(kDefaultWindow)),
      budget_(settings.budget),
      least_budget_(budget_.least_tokens(sink_, window_, kDefaultMaxChunk)) {
  budget_.top_k_chunks.reset();  // there are none
}

void SeparatorPolicy::read(Range positions, std::span<const int32_t> tokens) {
  for (int64_t t = positions.begin; t < positions.end; ++t) {
    const auto id = static_cast<size_t>(tokens[static_cast<size_t>(t - positions.begin)]);
    const uint8_t marks = id < token_marks_.size() ? token_marks_[id] : uint8_t{0};
    if ((marks & (kEndsInPunctuation | kHoldsLineEnd)) != 0) separators_.push_back(t);
  }
}

void SeparatorPolicy::forget(int64_t n) {
  separators_.erase(std::ranges::lower_bound(separators_, n), separators_.end());
}

void SeparatorPolicy::add_rows(int64_t position, SpanList& spans) {
  const Range query{position, position + 1};
  const int64_t budget = budget_.tokens_at(position, least_budget_);
  if (budget > position) {
    spans.add_everything(query);
    return;
  }
  const int64_t begin = std::max<int64_t>(0, position + 1 - window_);
  const int64_t sink = std::min(sink_, begin);
  const int64_t room = std::max<int64_t>(0, budget - sink - (position + 1 - begin));
  const auto end = std::ranges::lower_bound(separators_, begin);
  auto first = std::ranges::lower_bound(separators_, sink);
  first = std::max(first, end - std::min<int64_t>(room, end - first));
  rows_.clear();
  append_merged(rows_, {0, sink});
  for (auto separator = first; separator < end; ++separator) {
    append_merged(rows_, {*separator, *separator + 1});
  }
  spans.add_alone(position, rows_, begin);
}

}  // namespace chunkllm
