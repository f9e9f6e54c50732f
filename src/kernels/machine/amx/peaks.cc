#include "kernels/machine/peaks.h"

#include <immintrin.h>

#include "kernels/linear/bf16_tiles.h"

namespace chunkllm::amx {

TileKernels tile_kernels();  // kernels/linear/amx/

namespace {

// Four independent products a round: what one tile unit can be given without a pause.
float tile_rounds(int64_t rounds) {
  const TileKernels kernels = tile_kernels();
  kernels.begin();
  _tile_zero(0);
  _tile_zero(1);
  _tile_zero(2);
  _tile_zero(3);
  _tile_zero(4);
  _tile_zero(5);
  _tile_zero(6);
  _tile_zero(7);
  for (int64_t round = 0; round < rounds; ++round) {
    _tile_dpbf16ps(0, 4, 6);
    _tile_dpbf16ps(1, 4, 7);
    _tile_dpbf16ps(2, 5, 6);
    _tile_dpbf16ps(3, 5, 7);
  }
  kernels.end();
  return 0;
}

}  // namespace

ProductPeak bf16_peak() {
  return {.run = tile_rounds, .rounds = 60'000, .flops = 4 * 2.0 * 16 * 16 * 32};
}

}  // namespace chunkllm::amx
