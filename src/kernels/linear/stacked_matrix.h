// The matrices that Linear packs its weights into.
#pragma once

#include <cstdint>
#include <span>
#include <variant>
#include <vector>

#include "base/dtype.h"
#include "kernels/linear/bf16_matrix.h"
#include "kernels/linear/float_matrix.h"
#include "kernels/linear/precision.h"
#include "kernels/linear/quant_matrix.h"
#include "kernels/linear/tile_source.h"

namespace chunkllm {

// One of several matrices that are stacked by rows.
struct StackedMatrix {
  std::variant<FloatMatrix, Bf16Matrix, QuantMatrix> matrix;
  int64_t first_output = 0;
  TileSource tiles = {};  // of the matrix, where products are made in bfloat16

  template <class Matrix>
  const Matrix* as() const {
    return std::get_if<Matrix>(&matrix);
  }
  int64_t size_bytes() const {
    return std::visit([](const auto& any) { return any.size_bytes(); }, matrix);
  }
};

// Packs `parts` (each [n_rows, n_cols], the same n_cols), stacked by rows: a matrix for each run of
// parts that can share a product, which are those of one quantised type and those of any floating
// types. Throws Error (kMemory; kUnsupported for parts that cannot be stacked or multiplied, and
// for products that the level in use lacks). Quantised ones may be in `kept`, as QuantMatrix has
// it.
std::vector<StackedMatrix> pack_stacked(std::span<const MatrixView> parts, Precision precision,
                                        PackedMatrices* kept = nullptr);

}  // namespace chunkllm
