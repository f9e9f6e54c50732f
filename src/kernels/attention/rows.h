// Walking the cached rows of a list of ranges, a tile at a time.
#pragma once

#include <algorithm>
#include <cstdint>
#include <span>

#include "base/range.h"

namespace chunkllm {

// Rows of a tile; the tile's keys, values and scores of some 48 queries stay in the first cache
// levels.
inline constexpr int kKvTileRows = 64;

// Where in an ascending list of ranges a piece of work begins, and how many rows it has. A view of
// the list. There must be at least `n_rows` rows from `position` on.
struct RowCursor {
  const Range* range = nullptr;  // the range that holds `position`
  int64_t position = 0;
  int64_t n_rows = 0;  // still to come

  // Passes over `n` rows; there must be as many.
  void skip(int64_t n) {
    n_rows -= n;
    while (n > 0) {
      const int64_t here = std::clamp(range->end - position, int64_t{0}, n);
      position += here;
      n -= here;
      if (n > 0) position = (++range)->begin;
    }
  }
};

// The rows of an ascending list that are at or before `position`. Empty ranges may stand anywhere.
inline RowCursor rows_until(std::span<const Range> list, int64_t position) {
  RowCursor cursor{list.data(), list.empty() ? 0 : list.front().begin, 0};
  for (const Range& range : list) {
    if (range.empty()) continue;
    if (range.begin > position) break;
    cursor.n_rows += std::min(range.end, position + 1) - range.begin;
  }
  return cursor;
}

// The positions of up to kKvTileRows rows, which may lie in several ranges: rows of short ranges
// are worked on together, as if they were one.
//
// Kernels that are compiled for one instruction set use this: what they call is either in rows.cc
// or always inlined, so that no copy of theirs is linked where others call it.
struct RowTile {
  int32_t positions[kKvTileRows];
  int n_rows = 0;

  [[gnu::always_inline]] RowTile() {}  // NOLINT(modernize-use-equals-default)
  int32_t first() const { return positions[0]; }
  [[gnu::always_inline]] int32_t last() const { return positions[n_rows - 1]; }

  // Takes the next rows, as many as there are and fit.
  void fill(RowCursor& cursor);

  // How many rows are at or before `position`.
  int count_until(int64_t position) const {
    if (n_rows == 0 || positions[n_rows - 1] <= position) return n_rows;
    int n = n_rows;
    while (n > 0 && positions[n - 1] > position) --n;
    return n;
  }
};

}  // namespace chunkllm
