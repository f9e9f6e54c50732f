// A weight matrix in bfloat16 and its products, stored once, in the tiles that both want: what
// Linear keeps for floating weights where bfloat16 products are available.
#pragma once

#include <cstdint>
#include <span>

#include "base/dtype.h"
#include "base/memory.h"
#include "kernels/linear/panel_pack.h"
#include "kernels/linear/tile_source.h"

namespace chunkllm {

// Owns the packed matrix; no other copy is kept. Needs avx512_bf16. Any number of threads may call
// an object; the products use all threads.
class Bf16Matrix {
 public:
  // Packs `parts`, of floating types and the same number of columns, stacked by rows and rounded to
  // bfloat16. The views are not used afterwards. Throws Error (kMemory).
  explicit Bf16Matrix(std::span<const MatrixView> parts);

  int64_t size_bytes() const { return static_cast<int64_t>(buffer_.size_bytes()); }

  // y[o] = sum_i x[i] W[o, i] for x [n_in] rounded to bfloat16; sums in float32.
  void multiply_vector(const float* x, float* y) const;

  // For products of many tokens. Valid while the matrix lives, wherever it is moved to.
  TileSource tiles() const;

 private:
  PanelLayout layout_;  // panels of tiles: 16 outputs, pairs of inputs, padded to 32 inputs
  ReservedBuffer buffer_;
};

}  // namespace chunkllm
