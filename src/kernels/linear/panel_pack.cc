#include "kernels/linear/panel_pack.h"

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstring>

#include "base/thread_pool.h"
#include "kernels/ops/ops.h"

namespace chunkllm {

void read_stacked(std::span<const MatrixView> parts, int64_t row, int64_t begin, int64_t n,
                  float* target) {
  for (const MatrixView& part : parts) {
    if (row < part.n_rows) {
      const int64_t at = dtype_row_bytes(part.dtype, row * part.n_cols + begin);
      convert_to_float(part.dtype, static_cast<const std::byte*>(part.data) + at, n, target);
      return;
    }
    row -= part.n_rows;
  }
}

void pack_panels(std::span<const MatrixView> parts, const PanelLayout& layout, uint32_t* panels) {
  // Rows are gathered in tiles that stay in the first-level cache.
  constexpr int64_t kRunWords = 96;
  constexpr int64_t kMaxWidth = 64;
  const int64_t width = layout.width;
  const int64_t pairing = layout.pairing;
  const int64_t n_words = (layout.n_in + pairing - 1) / pairing;
  const int64_t panel_words = layout.panel_elements() / pairing;
  const int64_t n_panels = layout.n_panels();
  parallel_for(n_panels, 1, [&](int64_t p, int64_t, int) {
    std::array<float, 2 * kRunWords> values;
    std::array<uint32_t, kMaxWidth * kRunWords> tile;  // [width, kRunWords]
    const int64_t n_rows = std::min(width, layout.n_out - p * width);
    for (int64_t begin = 0; begin < n_words; begin += kRunWords) {
      const int64_t run_words = std::min(kRunWords, n_words - begin);
      const int64_t n = std::min(run_words * pairing, layout.n_in - begin * pairing);
      for (int64_t r = 0; r < n_rows; ++r) {
        uint32_t* tile_row = tile.data() + r * kRunWords;
        tile_row[run_words - 1] = 0;  // half of it stays so where n_in is odd
        read_stacked(parts, p * width + r, begin * pairing, n, values.data());
        if (pairing == 1) {
          std::memcpy(tile_row, values.data(), static_cast<size_t>(n) * sizeof(float));
        } else {
          round_to_bf16(values.data(), n, reinterpret_cast<uint16_t*>(tile_row));
        }
      }
      uint32_t* target = panels + p * panel_words + begin * width;
      for (int64_t w = 0; w < run_words; ++w, target += width) {
        for (int64_t r = 0; r < n_rows; ++r) target[r] = tile[r * kRunWords + w];
      }
    }
  });
}

}  // namespace chunkllm
