// A weight matrix in float32 and its products, through oneDNN with weights packed once.
#pragma once

#include <cstdint>
#include <memory>
#include <span>

#include "base/dtype.h"

namespace chunkllm {

// Owns the packed matrix; no other copy is kept. One thread at a time may call an object; the
// product itself uses all threads.
class FloatMatrix {
 public:
  // Packs `parts`, of floating types and the same number of columns, stacked by rows. The views are
  // not used afterwards. Throws Error (kMemory, kUnsupported).
  explicit FloatMatrix(std::span<const MatrixView> parts);
  ~FloatMatrix();
  FloatMatrix(FloatMatrix&&) noexcept;
  FloatMatrix& operator=(FloatMatrix&&) noexcept;

  // y[t * y_stride + o] = sum_i x[t, i] W[o, i] for x [n_tokens, n_in], n_tokens at least 1.
  void multiply(const float* x, int64_t n_tokens, float* y, int64_t y_stride) const;

  int64_t size_bytes() const;

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace chunkllm
