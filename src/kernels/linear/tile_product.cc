#include "kernels/linear/tile_product.h"

#include <algorithm>
#include <cstring>
#include <utility>

#include "base/scratch.h"
#include "base/thread_pool.h"
#include "base/threads.h"
#include "kernels/machine/kernel_set.h"

namespace chunkllm {
namespace {

constexpr int64_t kBlockRows = 2 * kTileRows;
constexpr int64_t kBlockOutputs = 2 * kTileOutputs;

// Multiplies a block of 32 outputs whose place in y is narrower or shorter than the kernel writes:
// [n_rows, n_outputs].
void multiply_edge(TileBlock block, int64_t n_rows, int64_t n_outputs) {
  alignas(64) float whole[kBlockRows * kBlockOutputs];
  float* y = std::exchange(block.c, whole);
  const int64_t y_stride = std::exchange(block.c_stride, kBlockOutputs);
  const size_t row_bytes = static_cast<size_t>(n_outputs) * sizeof(float);
  if (block.accumulate) {
    std::memset(whole, 0, sizeof(whole));
    for (int64_t r = 0; r < n_rows; ++r) {
      std::memcpy(whole + r * kBlockOutputs, y + r * y_stride, row_bytes);
    }
  }
  tile_kernels().multiply(block);
  for (int64_t r = 0; r < n_rows; ++r) {
    std::memcpy(y + r * y_stride, whole + r * kBlockOutputs, row_bytes);
  }
}

}  // namespace

const TileKernels& tile_kernels() {
  static const TileKernels kernels = active_kernels().tile_product();
  return kernels;
}

const TilePacking& tile_packing() {
  static const TilePacking packing = active_kernels().tile_packing();
  return packing;
}

TiledRows round_to_tiles(const float* x, int64_t n_tokens, int64_t n_in) {
  const TilePacking& packing = tile_packing();
  thread_local Scratch<uint16_t> scratch;
  TiledRows rows{.n_tokens = n_tokens,
                 .n_row_tiles = (n_tokens + kTileRows - 1) / kTileRows,
                 .n_k_tiles = (n_in + kTileInputs - 1) / kTileInputs};
  const int64_t row_words = rows.n_k_tiles * kTileWords;
  uint16_t* tiles = scratch.get(rows.n_row_tiles * row_words);
  rows.tiles = tiles;
  constexpr int64_t kMinParallelInputs = 1 << 16;
  constexpr int64_t kInputsAtOnce = 512;  // 16 tiles: in the first-level cache until all rows are
  const bool parallel = n_tokens * n_in >= kMinParallelInputs;
  const auto round_row_tile = [&](int64_t row_tile) {
    const int64_t first = row_tile * kTileRows;
    const int64_t n_rows = std::min(kTileRows, n_tokens - first);
    uint16_t* tile = tiles + row_tile * row_words;
    if (n_rows < kTileRows) std::fill_n(tile, row_words, uint16_t{0});
    for (int64_t i = 0; i < n_in; i += kInputsAtOnce, tile += kInputsAtOnce * kTileRows) {
      const int64_t n_inputs = std::min(kInputsAtOnce, n_in - i);
      for (int64_t r = 0; r < n_rows; ++r) {
        packing.round_rows(x + (first + r) * n_in + i, n_inputs, tile + r * kTileInputs);
      }
    }
  };
  parallel_for(rows.n_row_tiles, parallel ? 1 : rows.n_row_tiles,
               [&](int64_t begin, int64_t end, int) {
                 for (int64_t t = begin; t < end; ++t) round_row_tile(t);
               });
  return rows;
}

void multiply_tiles(const TiledRows& x, const WeightTiles& weights, float* y, int64_t y_stride) {
  const TileKernels& kernels = tile_kernels();
  const int64_t n_k = weights.n_k_tiles;
  const int64_t row_words = x.n_k_tiles * kTileWords;
  for (int64_t row_tile = 0; row_tile < x.n_row_tiles; row_tile += 2) {
    const int64_t row = row_tile * kTileRows;
    const uint16_t* a = x.tiles + row_tile * row_words + weights.first_k_tile * kTileWords;
    const uint16_t* b = weights.tiles;
    const uint16_t* next = a + 2 * row_words;  // a share of it with each of a slab's eight blocks
    for (int64_t output = weights.first_output; output < weights.end_output;
         output += kBlockOutputs, b += 2 * weights.panel_stride, next += n_k * 64) {
      const int64_t n_outputs = std::min(kBlockOutputs, weights.end_output - output);
      const TileBlock block{.a = a,
                            .a_stride = row_words,
                            .b = b,
                            .b_stride = n_outputs > kTileOutputs ? weights.panel_stride : 0,
                            .n_k_tiles = n_k,
                            .c = y + row * y_stride + output,
                            .c_stride = y_stride,
                            .n_row_tiles = row_tile + 1 < x.n_row_tiles ? 2 : 1,
                            .accumulate = weights.first_k_tile > 0,
                            .next = {next, next + row_words}};
      const int64_t n_rows = std::min(block.n_row_tiles * kTileRows, x.n_tokens - row);
      if (n_rows == block.n_row_tiles * kTileRows && n_outputs == kBlockOutputs) {
        kernels.multiply(block);
      } else {
        multiply_edge(block, n_rows, n_outputs);
      }
    }
  }
}

int64_t slab_panels(int64_t n_panels) {
  const int64_t n_threads = current_threads();
  const int64_t n_rounds = (n_panels + kSlabPanels * n_threads - 1) / (kSlabPanels * n_threads);
  const int64_t panels = (n_panels + n_rounds * n_threads - 1) / (n_rounds * n_threads);
  return panels + panels % 2;
}

}  // namespace chunkllm
