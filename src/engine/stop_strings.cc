#include "engine/stop_strings.h"

#include <algorithm>
#include <utility>

#include "base/error.h"
#include "text/tokenizer/tokenizer.h"
#include "text/utf8.h"

namespace chunkllm {

StopStrings::StopStrings(std::vector<std::string> stops) : stops_(std::move(stops)) {
  for (const std::string& stop : stops_) {
    if (stop.empty()) {
      fail(ErrorCode::kInvalidArgument, "--stop is empty; give the text to stop at");
    }
    if (const auto offset = find_invalid_utf8(stop)) {
      fail(ErrorCode::kInvalidArgument, "--stop is not valid UTF-8 at byte {}; convert it to UTF-8",
           *offset);
    }
  }
}

std::string StopStrings::push(std::string_view piece) {
  if (stop_) return {};
  held_ += piece;
  size_t first_begin = 0;
  size_t first_end = std::string::npos;
  for (const std::string& stop : stops_) {
    const size_t begin = held_.find(stop);
    if (begin == std::string::npos) continue;
    const size_t end = begin + stop.size();
    if (end < first_end || (end == first_end && begin < first_begin)) {
      first_begin = begin;
      first_end = end;
      stop_ = stop;
    }
  }
  const size_t n_shown = stop_ ? first_begin : held_.size() - n_undecided();
  std::string shown = held_.substr(0, n_shown);
  held_.erase(0, stop_ ? std::string::npos : n_shown);
  return shown;
}

std::string StopStrings::finish() { return std::exchange(held_, {}); }

size_t StopStrings::n_undecided() const {
  size_t longest = 0;
  for (const std::string& stop : stops_) {
    size_t n = std::min(stop.size() - 1, held_.size());
    while (n > longest && !std::string_view(held_).ends_with(stop.substr(0, n))) --n;
    longest = std::max(longest, n);
  }
  return longest;
}

}  // namespace chunkllm
