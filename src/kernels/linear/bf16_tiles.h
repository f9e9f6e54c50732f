// Matrix products of bfloat16 tiles, for inputs of many tokens: weights are dequantised from their
// quantised form into tiles that stay in the second-level cache, and multiplied there.
//
// Inputs  A: [n_row_tiles, n_k_tiles] tiles of 16 rows (tokens) x 32 inputs, row-major.
// Weights B: [n_panels, n_k_tiles] tiles of 16 pairs of inputs x 16 outputs x the pair.
// A tile has 1024 bytes: what an AMX tile register holds, and 16 vectors of AVX-512.
#pragma once

#include <cstdint>

#include "kernels/quant/layout.h"

namespace chunkllm {

inline constexpr int64_t kTileRows = 16;
inline constexpr int64_t kTileOutputs = 16;
inline constexpr int64_t kTileInputs = 32;
inline constexpr int64_t kTileWords = 512;  // bfloat16 values of a tile

// C[t * c_stride + o] (+)= sum over k tiles for one or two tiles of rows and two of outputs: 16
// n_row_tiles rows, 32 outputs. Row tiles lie a_stride words apart, output tiles b_stride.
struct TileBlock {
  const uint16_t* a = nullptr;
  int64_t a_stride = 0;
  const uint16_t* b = nullptr;
  int64_t b_stride = 0;
  int64_t n_k_tiles = 0;
  float* c = nullptr;
  int64_t c_stride = 0;
  int n_row_tiles = 2;
  bool accumulate = false;
  // Inputs of later blocks, to be brought near meanwhile: 128 bytes a k tile at each of the two.
  // Any address will do.
  const uint16_t* next[2] = {nullptr, nullptr};
};

// Products of one instruction set.
struct TileKernels {
  // To be called by a thread before its first multiply and after its last.
  void (*begin)();
  void (*end)();
  void (*multiply)(const TileBlock& block);
  // Weights are best dequantised this many k tiles at a time, and 256 outputs.
  int64_t slab_k_tiles;
};

// Dequantises the blocks [first_block, first_block + n_blocks) of one panel into that many tiles of
// B, rounded to nearest even. `panel` holds whole units.
using DequantizeTiles = void (*)(const uint8_t* panel, int64_t first_block, int64_t n_blocks,
                                 uint16_t* tiles);

// Conversions to tiles.
struct TilePacking {
  // Rounds n inputs to the same row of as many tiles as they need, the first at `row`; zeros fill
  // the last.
  void (*round_rows)(const float* x, int64_t n, uint16_t* row);
  const DequantizeTiles* dequantizers;  // one for each row of kQuantFormats
};

}  // namespace chunkllm
