// Where chunks end and selections are renewed in one sequence, as one kind of layer sees it.
#pragma once

#include <algorithm>
#include <cstdint>
#include <vector>

#include "base/range.h"

namespace chunkllm {

// The rows of a chunk that are not the sink's; empty where it holds no others.
inline Range rows_after_sink(Range chunk, int64_t sink) {
  return {std::min(std::max(chunk.begin, sink), chunk.end), chunk.end};
}

// Chunk j is [end of chunk j - 1, ends[j]); the first begins at 0. A plain value.
struct ChunkTrack {
  std::vector<int64_t> ends;       // one past each boundary token, ascending
  std::vector<int64_t> refreshes;  // positions of refresh tokens, ascending
  // [n_refreshes] 1: the refresh closes a run of tokens that may attend by it together, as a
  // boundary closes its chunk; 0: it is a prompt end or a position alone.
  std::vector<uint8_t> closing = {};

  int64_t open_begin() const { return ends.empty() ? 0 : ends.back(); }
  int64_t n_chunks() const { return static_cast<int64_t>(ends.size()); }

  Range chunk(int64_t j) const {
    return {j == 0 ? 0 : ends[static_cast<size_t>(j - 1)], ends[static_cast<size_t>(j)]};
  }
  // Number of chunks that end at or before `position`.
  int64_t n_closed_at(int64_t position) const {
    return std::upper_bound(ends.begin(), ends.end(), position) - ends.begin();
  }
  // Begin of the chunk (closed or open) that holds `position`.
  int64_t begin_of_chunk_at(int64_t position) const {
    const int64_t j = n_closed_at(position);
    return j == 0 ? 0 : ends[static_cast<size_t>(j - 1)];
  }
  // Indices into `refreshes` of those at positions in `range`.
  Range refreshes_in(Range range) const {
    return {std::lower_bound(refreshes.begin(), refreshes.end(), range.begin) - refreshes.begin(),
            std::lower_bound(refreshes.begin(), refreshes.end(), range.end) - refreshes.begin()};
  }
  // Forgets everything from position `n` on.
  void truncate(int64_t n) {
    ends.resize(static_cast<size_t>(n_closed_at(n)));
    refreshes.resize(static_cast<size_t>(refreshes_in({0, n}).end));
    closing.resize(std::min(closing.size(), refreshes.size()));
  }
};

}  // namespace chunkllm
