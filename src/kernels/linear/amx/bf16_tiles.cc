// Products of bfloat16 tiles in AMX's tile registers.
#include "kernels/linear/bf16_tiles.h"

#include <immintrin.h>

namespace chunkllm::amx {
namespace {

constexpr int64_t kRowBytes = 64;

// Tile loads hardly run ahead of the products, so inputs and weights are called into the
// first-level cache this many k tiles before.
constexpr int64_t kTilesAhead = 2;

// Half of the tile that lies kTilesAhead after `tile`. Halves go between the loads and products: in
// one run they hold them up, the more so where another hardware thread shares the core.
template <int kHalf>
void prefetch_half(const uint16_t* tile) {
  const auto* bytes = reinterpret_cast<const char*>(tile + kTilesAhead * kTileWords);
#pragma GCC unroll 8
  for (int64_t row = 8 * kHalf; row < 8 * kHalf + 8; ++row) {
    _mm_prefetch(bytes + row * kRowBytes, _MM_HINT_T0);
  }
}

// Every register as 16 rows of 64 bytes (Intel SDM, volume 1, "TILECFG").
struct alignas(64) TileConfig {
  uint8_t palette = 1;
  uint8_t start_row = 0;
  uint8_t reserved[14] = {};
  uint16_t row_bytes[16] = {64, 64, 64, 64, 64, 64, 64, 64};
  uint8_t rows[16] = {16, 16, 16, 16, 16, 16, 16, 16};
};

// At namespace scope, since GCC's intrinsic is said to read its first 8 bytes alone: stores to the
// rest of a local would be dropped.
const TileConfig kConfig;

void begin() { _tile_loadconfig(&kConfig); }

void end() { _tile_release(); }

// Registers 0 to 3 hold sums [row tile][output tile], 4 and 5 inputs, 6 and 7 weights: every load
// serves two products, so that loads keep up from the second-level cache.
void multiply_two(const TileBlock& block) {
  const int64_t c_bytes = block.c_stride * static_cast<int64_t>(sizeof(float));
  float* c0 = block.c;
  float* c1 = block.c + kTileRows * block.c_stride;
  if (block.accumulate) {
    _tile_loadd(0, c0, c_bytes);
    _tile_loadd(1, c0 + 16, c_bytes);
    _tile_loadd(2, c1, c_bytes);
    _tile_loadd(3, c1 + 16, c_bytes);
  } else {
    _tile_zero(0);
    _tile_zero(1);
    _tile_zero(2);
    _tile_zero(3);
  }
  const uint16_t* a0 = block.a;
  const uint16_t* a1 = block.a + block.a_stride;
  const uint16_t* b0 = block.b;
  const uint16_t* b1 = block.b + block.b_stride;
  const auto* next0 = reinterpret_cast<const char*>(block.next[0]);
  const auto* next1 = reinterpret_cast<const char*>(block.next[1]);
  for (int64_t k = 0; k < block.n_k_tiles; ++k) {
    _tile_loadd(4, a0, kRowBytes);
    prefetch_half<0>(b0);
    _mm_prefetch(next0 + 128 * k, _MM_HINT_T1);
    _tile_loadd(6, b0, kRowBytes);
    prefetch_half<1>(b0);
    _mm_prefetch(next0 + 128 * k + 64, _MM_HINT_T1);
    _tile_dpbf16ps(0, 4, 6);
    prefetch_half<0>(a0);
    _tile_loadd(7, b1, kRowBytes);
    prefetch_half<0>(b1);
    _mm_prefetch(next1 + 128 * k, _MM_HINT_T1);
    _tile_dpbf16ps(1, 4, 7);
    prefetch_half<1>(a0);
    _tile_loadd(5, a1, kRowBytes);
    prefetch_half<1>(b1);
    _mm_prefetch(next1 + 128 * k + 64, _MM_HINT_T1);
    _tile_dpbf16ps(2, 5, 6);
    prefetch_half<0>(a1);
    _tile_dpbf16ps(3, 5, 7);
    prefetch_half<1>(a1);
    a0 += kTileWords;
    a1 += kTileWords;
    b0 += kTileWords;
    b1 += kTileWords;
  }
  _tile_stored(0, c0, c_bytes);
  _tile_stored(1, c0 + 16, c_bytes);
  _tile_stored(2, c1, c_bytes);
  _tile_stored(3, c1 + 16, c_bytes);
}

void multiply_one(const TileBlock& block) {
  const int64_t c_bytes = block.c_stride * static_cast<int64_t>(sizeof(float));
  if (block.accumulate) {
    _tile_loadd(0, block.c, c_bytes);
    _tile_loadd(1, block.c + 16, c_bytes);
  } else {
    _tile_zero(0);
    _tile_zero(1);
  }
  const uint16_t* a = block.a;
  const uint16_t* b = block.b;
  for (int64_t k = 0; k < block.n_k_tiles; ++k, a += kTileWords, b += kTileWords) {
    _tile_loadd(4, a, kRowBytes);
    _tile_loadd(6, b, kRowBytes);
    _tile_dpbf16ps(0, 4, 6);
    _tile_loadd(7, b + block.b_stride, kRowBytes);
    _tile_dpbf16ps(1, 4, 7);
  }
  _tile_stored(0, block.c, c_bytes);
  _tile_stored(1, block.c + 16, c_bytes);
}

void multiply(const TileBlock& block) {
  if (block.n_row_tiles == 2) {
    multiply_two(block);
  } else {
    multiply_one(block);
  }
}

}  // namespace

// 2048 inputs: sums rarely leave the registers, and the slab fills half of the second-level cache.
TileKernels tile_kernels() { return {begin, end, multiply, 64}; }

}  // namespace chunkllm::amx
