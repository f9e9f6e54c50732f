// What the text of a token says about where a chunk may be cut: plain data by token id, so that
// nothing here needs a tokenizer.
#pragma once

#include <algorithm>
#include <cstdint>
#include <iterator>
#include <string_view>

namespace chunkllm {

// Bits of a token's marks.
inline constexpr uint8_t kHoldsLineEnd = 1;
inline constexpr uint8_t kEndsInPunctuation = 2;
inline constexpr uint8_t kBeginsWithSpace = 4;
inline constexpr uint8_t kEndsSentence = 8;

// Whether the text ends in a mark that ends sentences, with quotes or brackets that close after it.
inline bool ends_sentence(std::string_view text) {
  constexpr std::string_view kClosing[] = {"\"", "'", ")", "]", "}", "”", "’", "»"};
  constexpr std::string_view kMarks[] = {".", "!", "?", "…", "。", "！", "？"};
  const auto ends_in = [&](std::string_view end) { return text.ends_with(end); };
  while (true) {
    const auto* const closing = std::ranges::find_if(kClosing, ends_in);
    if (closing == std::end(kClosing)) break;
    text.remove_suffix(closing->size());
  }
  return std::ranges::any_of(kMarks, ends_in);
}

inline uint8_t marks_of_token(std::string_view text) {
  constexpr std::string_view kPunctuation = ".,;:!?)]}";
  constexpr std::string_view kSpace = " \t\r\n";
  if (text.empty()) return 0;
  uint8_t marks = 0;
  if (text.find('\n') != std::string_view::npos) marks |= kHoldsLineEnd;
  if (kPunctuation.find(text.back()) != std::string_view::npos) marks |= kEndsInPunctuation;
  if (kSpace.find(text.front()) != std::string_view::npos) marks |= kBeginsWithSpace;
  if (ends_sentence(text)) marks |= kEndsSentence;
  return marks;
}

}  // namespace chunkllm
