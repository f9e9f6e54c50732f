// What kernels can be written for one instruction set alone, and which of them are in use.
#pragma once

#include "kernels/quant/dot.h"

namespace chunkllm {

struct TilePacking;          // kernels/linear/bf16_tiles.h
struct TileKernels;          // the same
struct AttentionTileKernel;  // kernels/attention/kernels.h
struct ProductPeak;          // kernels/machine/peaks.h

// A function for each family of kernels, which gives its table. Null: the level has none of its
// own, and takes what its base has (levels.h).
struct KernelSet {
  // An array with a kernel for each row of kQuantFormats; never null once chosen.
  const QuantDot* (*quant_dot)() = nullptr;
  TilePacking (*tile_packing)() = nullptr;            // null below avx512_bf16
  TileKernels (*tile_product)() = nullptr;            // null below avx512_bf16
  AttentionTileKernel (*attention_tile)() = nullptr;  // null below avx512_bf16
  ProductPeak (*f32_peak)() = nullptr;                // never null once chosen
  ProductPeak (*bf16_peak)() = nullptr;               // null below avx512_bf16
  ProductPeak (*int8_peak)() = nullptr;               // null below avx2
};

// `own`, and from `base` what it lacks.
KernelSet with_fallback(KernelSet own, const KernelSet& base);

// The kernels of active_isa(): chosen once. Throws as that does.
const KernelSet& active_kernels();

}  // namespace chunkllm
