// Slow, plain references of the dense products, computed in double. For tests and benchmarks only.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <vector>

#include "base/bf16.h"
#include "kernels/linear/linear.h"
#include "kernels/linear/sgemm.h"

namespace chunkllm::ref {

// The values that inputs x [n] have once rounded to int8 in blocks of 32, as Precision says: the
// largest magnitude of a block becomes 127.
inline std::vector<float> rounded_to_int8(const float* x, int64_t n) {
  std::vector<float> values(static_cast<size_t>(n));
  for (int64_t begin = 0; begin < n; begin += 32) {
    float largest = 0;
    for (int64_t i = begin; i < begin + 32; ++i) largest = std::max(largest, std::abs(x[i]));
    for (int64_t i = begin; i < begin + 32 && largest > 0; ++i) {
      values[i] = largest / 127.0f * std::nearbyint(x[i] * (127.0f / largest));
    }
  }
  return values;
}

// y = x W^T for x [n_tokens, n_in], W [n_out, n_in]; with kBf16 both are rounded to bfloat16 first,
// so that the only difference to Linear is the order and precision of the sums.
inline std::vector<double> linear(const float* x, const float* weight, int64_t n_tokens,
                                  int64_t n_in, int64_t n_out, Precision precision) {
  const auto rounded = [&](float value) {
    return precision.products == ProductType::kBf16 ? to_float(to_bf16(value)) : value;
  };
  std::vector<double> inputs(x, x + n_tokens * n_in);
  for (double& value : inputs) value = rounded(static_cast<float>(value));
  std::vector<double> row(static_cast<size_t>(n_in));
  std::vector<double> y(static_cast<size_t>(n_tokens * n_out));
  for (int64_t o = 0; o < n_out; ++o) {
    for (int64_t i = 0; i < n_in; ++i) row[i] = rounded(weight[o * n_in + i]);
    for (int64_t t = 0; t < n_tokens; ++t) {
      double sum = 0;
      for (int64_t i = 0; i < n_in; ++i) sum += inputs[t * n_in + i] * row[i];
      y[t * n_out + o] = sum;
    }
  }
  return y;
}

// alpha op(A) op(B) + beta C as sgemm() means it; [m, n] with row stride n. C is not read if beta
// is 0.
inline std::vector<double> gemm(const GemmShape& shape, double alpha, const float* a, int64_t lda,
                                const float* b, int64_t ldb, double beta, const float* c,
                                int64_t ldc) {
  std::vector<double> result(static_cast<size_t>(shape.m * shape.n));
  for (int64_t i = 0; i < shape.m; ++i) {
    for (int64_t j = 0; j < shape.n; ++j) {
      double sum = 0;
      for (int64_t l = 0; l < shape.k; ++l) {
        const double left = shape.transpose_a ? a[l * lda + i] : a[i * lda + l];
        const double right = shape.transpose_b ? b[j * ldb + l] : b[l * ldb + j];
        sum += left * right;
      }
      result[i * shape.n + j] = alpha * sum + (beta == 0 ? 0 : beta * c[i * ldc + j]);
    }
  }
  return result;
}

}  // namespace chunkllm::ref
