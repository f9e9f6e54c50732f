// y = x W^T: the dense products of the forward pass, with weights packed once, in floating types or
// as they are quantised in the file.
#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <vector>

#include "base/dtype.h"
#include "kernels/linear/packed_matrices.h"
#include "kernels/linear/precision.h"

namespace chunkllm {

// A weight matrix packed in the layout that the products want; no other copy is kept. Owns it.
// One thread at a time may call an object; the product itself uses all threads.
class Linear {
 public:
  Linear();  // no matrix: may only be assigned to or destroyed
  // Packs the matrices `parts` (each [n_rows, n_cols], the same n_cols), stacked by rows, as one
  // [n_out, n_in] matrix, so that projections of one input run as one product. Floating types are
  // converted to the type of the products; quantised ones stay as they are, at about the file's
  // bits per weight, and their rows must be whole blocks. Types may differ between parts: runs of
  // equal types share a product. The views are not used afterwards. `bias` [n_out] is added to
  // every row of the result; empty: none. Quantised matrices may be in `kept`, which must then
  // outlive the object. Throws Error (kMemory, kUnsupported; kInvalidArgument for a bias of another
  // length).
  Linear(std::span<const MatrixView> parts, Precision precision, std::vector<float> bias = {},
         PackedMatrices* kept = nullptr);
  ~Linear();
  Linear(Linear&&) noexcept;
  Linear& operator=(Linear&&) noexcept;

  // y[t, o] = sum_i x[t, i] W[o, i] + bias[o] for x [n_tokens, n_in] and y [n_tokens, n_out], both
  // float32, row-major and contiguous, in that precision. No n_tokens is refused; 0 does nothing.
  // An input that is not finite makes every output of its token that it has a weight in not finite.
  void operator()(const float* x, int64_t n_tokens, float* y) const;

  // Tokens of one product whose results are, for each, the bits that a product of its own gives.
  int64_t tokens_as_alone() const;

  int64_t n_in() const;
  int64_t n_out() const;
  // Bytes the packed weights and the bias take.
  int64_t size_bytes() const;

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

// Bytes that Linear packs a matrix of this type into, up to the padding of its last panels.
int64_t packed_matrix_bytes(DType dtype, int64_t n_rows, int64_t n_cols, Precision precision);

}  // namespace chunkllm
