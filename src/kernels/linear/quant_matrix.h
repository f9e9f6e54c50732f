// A quantised weight matrix and its products: what Linear keeps for weights that are stored in
// blocks.
#pragma once

#include <cstdint>
#include <span>

#include "base/dtype.h"
#include "base/memory.h"
#include "kernels/linear/packed_matrices.h"
#include "kernels/linear/tile_source.h"
#include "kernels/quant/layout.h"

namespace chunkllm {

// Owns the packed matrix, unless one was kept; no other copy is kept. Any number of threads may
// call an object; the products use all threads. In all of them y[t * y_stride + o] is output o of
// token t.
class QuantMatrix {
 public:
  // Packs `parts`, all of one quantised type and the same number of columns (whole blocks), stacked
  // by rows, or takes what `kept` has of them, which must then outlive the object. The views are
  // not used afterwards. Throws Error (kMemory).
  explicit QuantMatrix(std::span<const MatrixView> parts, PackedMatrices* kept = nullptr);

  int64_t n_in() const { return panels_.n_in; }
  int64_t size_bytes() const { return panels_.n_panels * panels_.panel_bytes; }

  // In float32, with the exact values of the weights: x [n_tokens, n_in].
  void multiply_f32(const float* x, int64_t n_tokens, float* y, int64_t y_stride) const;

  // With inputs rounded to int8: integer products inside a block, float32 sums of blocks. A token's
  // result does not depend on the others.
  void multiply_int8(const Int8Rows& x, float* y, int64_t y_stride) const;

  // For products of many tokens with inputs and weights rounded to bfloat16. Needs avx512_bf16.
  // Valid while the matrix lives, wherever it is moved to.
  TileSource tiles() const;

 private:
  // Output panel p of n_tokens tokens from the t-th on, which `compute(rows, y, y_stride)` writes
  // for all outputs of a panel.
  template <typename Compute>
  void with_rows(const Int8Rows& x, int64_t t, int64_t n_tokens, int64_t p, float* y,
                 int64_t y_stride, const Compute& compute) const;

  ReservedBuffer buffer_;  // empty if the matrix was kept
  QuantPanels panels_;
};

}  // namespace chunkllm
