// Slow, plain references of the small operations, computed in double. For tests and benchmarks
// only. Shapes and meanings are those of ops.h.
#pragma once

#include <cmath>
#include <cstdint>
#include <numbers>
#include <vector>

namespace chunkllm::ref {

inline std::vector<double> rms_norm(const float* x, const float* weight, int64_t n_tokens,
                                    int64_t d_model, double epsilon) {
  std::vector<double> y(static_cast<size_t>(n_tokens * d_model));
  for (int64_t t = 0; t < n_tokens; ++t) {
    const float* row = x + t * d_model;
    double square = 0;
    for (int64_t i = 0; i < d_model; ++i) square += double{row[i]} * row[i];
    const double scale = 1.0 / std::sqrt(square / static_cast<double>(d_model) + epsilon);
    for (int64_t i = 0; i < d_model; ++i) y[t * d_model + i] = row[i] * scale * weight[i];
  }
  return y;
}

// x as rope_rotate() leaves it, the angle being taken from the tables.
inline std::vector<double> rope_rotate(const float* x, int64_t n_tokens, int64_t n_heads,
                                       int64_t head_dim, int64_t row_stride, const float* cos_table,
                                       const float* sin_table) {
  const int64_t half = head_dim / 2;
  std::vector<double> y(x, x + n_tokens * row_stride);
  for (int64_t t = 0; t < n_tokens; ++t) {
    for (int64_t h = 0; h < n_heads; ++h) {
      const int64_t at = t * row_stride + h * head_dim;
      for (int64_t i = 0; i < half; ++i) {
        const double c = cos_table[t * half + i];
        const double s = sin_table[t * half + i];
        y[at + i] = x[at + i] * c - x[at + half + i] * s;
        y[at + half + i] = x[at + half + i] * c + x[at + i] * s;
      }
    }
  }
  return y;
}

inline std::vector<double> silu_mul(const float* gate_up, int64_t n_tokens, int64_t d_ff) {
  std::vector<double> y(static_cast<size_t>(n_tokens * d_ff));
  for (int64_t t = 0; t < n_tokens; ++t) {
    for (int64_t i = 0; i < d_ff; ++i) {
      const double gate = gate_up[2 * t * d_ff + i];
      y[t * d_ff + i] = gate / (1.0 + std::exp(-gate)) * gate_up[2 * t * d_ff + d_ff + i];
    }
  }
  return y;
}

inline std::vector<double> gelu_tanh_mul(const float* gate_up, int64_t n_tokens, int64_t d_ff) {
  std::vector<double> y(static_cast<size_t>(n_tokens * d_ff));
  for (int64_t t = 0; t < n_tokens; ++t) {
    for (int64_t i = 0; i < d_ff; ++i) {
      const double gate = gate_up[2 * t * d_ff + i];
      const double u = std::sqrt(2 / std::numbers::pi) * (gate + 0.044715 * gate * gate * gate);
      y[t * d_ff + i] = gate / 2 * (1 + std::tanh(u)) * gate_up[2 * t * d_ff + d_ff + i];
    }
  }
  return y;
}

inline double dot(const float* x, const float* y, int64_t n) {
  double sum = 0;
  for (int64_t i = 0; i < n; ++i) sum += double{x[i]} * y[i];
  return sum;
}

}  // namespace chunkllm::ref
