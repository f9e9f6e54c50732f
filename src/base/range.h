// Half-open ranges of positions, and lists of them.
#pragma once

#include <algorithm>
#include <cstdint>
#include <span>
#include <vector>

namespace chunkllm {

struct Range {
  int64_t begin = 0;
  int64_t end = 0;

  int64_t size() const { return end - begin; }
  bool empty() const { return end <= begin; }
  bool contains(int64_t i) const { return begin <= i && i < end; }
  friend bool operator==(const Range&, const Range&) = default;
};

// Appends `range` to a list that is ascending and disjoint, joining it with the last one where they
// touch or overlap. `range.begin` must not be below the begin of the last range; empty ranges
// vanish.
inline void append_merged(std::vector<Range>& list, Range range) {
  if (range.empty()) return;
  if (!list.empty() && range.begin <= list.back().end) {
    list.back().end = std::max(list.back().end, range.end);
  } else {
    list.push_back(range);
  }
}

// Number of positions in an ascending, disjoint list that are below `end`.
inline int64_t count_below(std::span<const Range> list, int64_t end) {
  int64_t count = 0;
  for (const Range& range : list) {
    if (range.begin >= end) break;
    count += std::min(range.end, end) - range.begin;
  }
  return count;
}

}  // namespace chunkllm
