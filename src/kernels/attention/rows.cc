#include "kernels/attention/rows.h"

namespace chunkllm {

void RowTile::fill(RowCursor& cursor) {
  n_rows = 0;
  while (n_rows < kKvTileRows && cursor.n_rows > 0) {
    while (cursor.position >= cursor.range->end) {
      ++cursor.range;
      cursor.position = cursor.range->begin;
    }
    const int n = static_cast<int>(std::min(
        {int64_t{kKvTileRows - n_rows}, cursor.n_rows, cursor.range->end - cursor.position}));
    for (int i = 0; i < n; ++i) {
      positions[n_rows + i] = static_cast<int32_t>(cursor.position) + i;
    }
    n_rows += n;
    cursor.position += n;
    cursor.n_rows -= n;
  }
}

}  // namespace chunkllm
