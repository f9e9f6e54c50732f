// Where a product of many tokens takes a matrix's bfloat16 tiles from.
#pragma once

#include <cstdint>

#include "kernels/linear/bf16_tiles.h"

namespace chunkllm {

// Weights [n_out, n_in] in panels of 16 outputs, which either hold tiles already or are dequantised
// into tiles as they are multiplied. A view: the matrix owns the panels.
struct TileSource {
  const uint8_t* panels = nullptr;  // [n_panels], 64-byte aligned
  int64_t panel_bytes = 0;
  int64_t n_out = 0;
  int64_t n_in = 0;
  DequantizeTiles dequantize = nullptr;  // of one panel; null: panels are tiles

  int64_t n_panels() const { return (n_out + kTileOutputs - 1) / kTileOutputs; }
};

}  // namespace chunkllm
