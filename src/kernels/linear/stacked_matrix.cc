#include "kernels/linear/stacked_matrix.h"

#include <limits>
#include <utility>

#include "base/error.h"
#include "kernels/machine/isa.h"

namespace chunkllm {
namespace {

void check_parts(std::span<const MatrixView> parts) {
  constexpr int64_t kMaxElements = std::numeric_limits<int64_t>::max() / 64;
  int64_t n_out = 0;
  for (const MatrixView& part : parts) {
    if (part.n_rows <= 0 || part.n_cols <= 0 || part.n_cols != parts.front().n_cols ||
        part.data == nullptr || part.n_rows > kMaxElements / part.n_cols - n_out) {
      fail(ErrorCode::kUnsupported,
           "cannot stack a [{}, {}] matrix on matrices of {} columns; check the model's shapes",
           part.n_rows, part.n_cols, parts.front().n_cols);
    }
    if (!is_floating(part.dtype) && !is_quantized(part.dtype)) {
      fail(ErrorCode::kUnsupported,
           "weights of type {} cannot be multiplied; use F32, F16, BF16 or a quantised type",
           dtype_name(part.dtype));
    }
    if (part.n_cols % dtype_block_elements(part.dtype) != 0) {
      fail(ErrorCode::kUnsupported,
           "rows of {} columns are no whole blocks of {}, which has {}; check the model's shapes",
           part.n_cols, dtype_name(part.dtype), dtype_block_elements(part.dtype));
    }
    n_out += part.n_rows;
  }
  if (n_out == 0) fail(ErrorCode::kUnsupported, "a product needs at least one weight matrix");
}

// Whether a matrix of the type of `a` takes `b` as well.
bool share_a_matrix(DType a, DType b) { return a == b || (is_floating(a) && is_floating(b)); }

StackedMatrix pack(std::span<const MatrixView> parts, ProductType products, PackedMatrices* kept) {
  const bool tiled = products == ProductType::kBf16;
  if (is_quantized(parts.front().dtype)) {
    QuantMatrix matrix(parts, kept);
    const TileSource tiles = tiled ? matrix.tiles() : TileSource{};
    return {.matrix = std::move(matrix), .tiles = tiles};
  }
  if (tiled) {
    Bf16Matrix matrix(parts);
    const TileSource tiles = matrix.tiles();
    return {.matrix = std::move(matrix), .tiles = tiles};
  }
  return {.matrix = FloatMatrix(parts)};
}

}  // namespace

std::vector<StackedMatrix> pack_stacked(std::span<const MatrixView> parts, Precision precision,
                                        PackedMatrices* kept) {
  if (precision.products == ProductType::kBf16 && !bf16_products_available()) {
    fail(ErrorCode::kUnsupported,
         "bfloat16 products need avx512_bf16, this process uses {}; use float32", active_isa());
  }
  check_parts(parts);
  std::vector<StackedMatrix> matrices;
  int64_t first_output = 0;
  while (!parts.empty()) {
    size_t n = 1;
    while (n < parts.size() && share_a_matrix(parts.front().dtype, parts[n].dtype)) ++n;
    matrices.push_back(pack(parts.first(n), precision.products, kept));
    matrices.back().first_output = first_output;
    for (const MatrixView& part : parts.first(n)) first_output += part.n_rows;
    parts = parts.subspan(n);
  }
  return matrices;
}

}  // namespace chunkllm
