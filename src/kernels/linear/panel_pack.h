// Packs weight matrices of floating types into panels: the layout of their products.
#pragma once

#include <cstdint>
#include <span>

#include "base/dtype.h"

namespace chunkllm {

// W [n_out, n_in] as panels of `width` outputs, `pairing` inputs lying side by side:
//   element (o, i) is [o / width][i / pairing][o % width][i % pairing].
// What pads the last panel and the inputs from n_in to padded_n_in is zero.
struct PanelLayout {
  int64_t n_out = 0;
  int64_t n_in = 0;
  int64_t padded_n_in = 0;  // a multiple of pairing
  int64_t pairing = 1;      // 1 for float32, 2 for bfloat16
  int64_t width = 64;       // at most 64

  int64_t n_panels() const { return (n_out + width - 1) / width; }
  int64_t panel_elements() const { return padded_n_in * width; }
};

// Columns [begin, begin + n) of row `row` of `parts` (stacked by rows, of floating types) as
// float32.
void read_stacked(std::span<const MatrixView> parts, int64_t row, int64_t begin, int64_t n,
                  float* target);

// Writes `parts`, stacked by rows, as panels of words, a word being one float32 or (pairing 2) two
// bfloat16 of adjacent inputs, rounded to nearest even. `panels` is zero beforehand. Uses all
// threads.
void pack_panels(std::span<const MatrixView> parts, const PanelLayout& layout, uint32_t* panels);

}  // namespace chunkllm
