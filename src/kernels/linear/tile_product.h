// Products of many tokens in bfloat16 tiles (bf16_tiles.h): what weights share whether they are
// stored in tiles or dequantised into them. Needs avx512_bf16.
#pragma once

#include <cstdint>

#include "kernels/linear/bf16_tiles.h"

namespace chunkllm {

// The kernels of the level in use.
const TileKernels& tile_kernels();
const TilePacking& tile_packing();

// Inputs rounded to bfloat16, in tiles (bf16_tiles.h); rows that only pad are zero.
struct TiledRows {
  const uint16_t* tiles = nullptr;  // [n_row_tiles, n_k_tiles, 16, 32], 64-byte aligned
  int64_t n_tokens = 0;
  int64_t n_row_tiles = 0;
  int64_t n_k_tiles = 0;
};

// Rounds x [n_tokens, n_in]; zeros fill the last tile of inputs. Needs avx512_bf16. The result lies
// in the calling thread's work space until its next call. Uses all threads.
TiledRows round_to_tiles(const float* x, int64_t n_tokens, int64_t n_in);

// Weights of outputs [first_output, end_output) and n_k_tiles tiles of inputs from first_k_tile:
// panels of 16 outputs that lie panel_stride words apart. first_output is a multiple of 32; what
// pads the last panel is zero or is not looked at.
struct WeightTiles {
  const uint16_t* tiles = nullptr;  // 64-byte aligned
  int64_t panel_stride = 0;
  int64_t first_output = 0;
  int64_t end_output = 0;
  int64_t first_k_tile = 0;
  int64_t n_k_tiles = 0;
};

// y[t * y_stride + o] = the products of x with these weights, added to what is there unless
// first_k_tile is 0. Runs on the calling thread, between begin() and end() of the kernels.
void multiply_tiles(const TiledRows& x, const WeightTiles& weights, float* y, int64_t y_stride);

// Whether a product of this many multiply-adds is worth waking a team of threads.
inline bool pays_for_threads(int64_t multiply_adds) { return multiply_adds >= 8'000'000; }

// At most kSlabPanels, an even number of panels: how many of n_panels a thread takes at a time, so
// that all threads have the same number of slabs.
inline constexpr int64_t kSlabPanels = 16;
int64_t slab_panels(int64_t n_panels);

}  // namespace chunkllm
