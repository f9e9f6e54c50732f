// The small operations between the dense products. Vectorised with Highway, dispatched at run time.
// All arrays are float32, row-major and contiguous. Rows are shared among the threads.
#pragma once

#include <cstdint>

namespace chunkllm {

// y[t, :] = x[t, :] / sqrt(mean(x[t, :]^2) + epsilon) * weight   (RMSNorm, arXiv 1910.07467)
// x, y [n_tokens, d_model] (may be the same array), weight [d_model].
void rms_norm(const float* x, const float* weight, int64_t n_tokens, int64_t d_model, float epsilon,
              float* y);

// The same, in place, for every head of rows that lie row_stride apart: x + t * row_stride holds
// n_heads heads of head_dim; weight [head_dim]. row_stride >= n_heads * head_dim. (Qwen 3's norms
// of queries and keys.)
void rms_norm_heads(float* x, const float* weight, int64_t n_tokens, int64_t n_heads,
                    int64_t head_dim, int64_t row_stride, float epsilon);

// cos and sin of position * inverse_frequency, [n_tokens, head_dim / 2] each, for the positions
// first_position, first_position + 1, ..., multiplied by `scale`. The angle is a float32 product,
// as in Hugging Face's models.
void rope_table(int64_t first_position, int64_t n_tokens, const float* inverse_frequencies,
                int64_t head_dim, float scale, float* cos_table, float* sin_table);

// Rotary embedding (arXiv 2104.09864) in place, in the half-split convention of Hugging Face's
// Llama: (x_i, x_{i + head_dim/2}) turned by the angle of i. Row t starts at x + t * row_stride and
// holds n_heads heads of head_dim. row_stride >= n_heads * head_dim, head_dim even.
void rope_rotate(float* x, int64_t n_tokens, int64_t n_heads, int64_t head_dim, int64_t row_stride,
                 const float* cos_table, const float* sin_table);

// y[t, i] = silu(gate_up[t, i]) * gate_up[t, d_ff + i]; gate_up [n_tokens, 2 * d_ff], y [n_tokens,
// d_ff].
void silu_mul(const float* gate_up, int64_t n_tokens, int64_t d_ff, float* y);

// The same with the approximation of GELU by tanh (arXiv 1606.08415, section 2) in place of silu.
void gelu_tanh_mul(const float* gate_up, int64_t n_tokens, int64_t d_ff, float* y);

// y[i] += x[i] for i in [0, n).
void add_to(const float* x, int64_t n, float* y);

// y[t, i] += x[i] for every row t of y [n_tokens, n]; x [n].
void add_to_rows(const float* x, int64_t n_tokens, int64_t n, float* y);

// sum_i x[i] y[i], accumulated in float32 lanes.
float dot(const float* x, const float* y, int64_t n);

// out[i, j] = scale * dot(x row i, y row j) for x [n_x, n], y [n_y, n] and out [n_x, n_y], all
// contiguous. Each value is the same whatever other rows share the call. Reads y once for all of x.
// Uses all threads if there is enough to do.
void dot_rows(const float* x, int64_t n_x, const float* y, int64_t n_y, int64_t n, float scale,
              float* out);

// The scores of several heads as one: out[j] = ln(mean over h of e[h, j] / sum_i weight[i] e[h, i])
// for e = exp(scores), scores [n_heads, stride] of which n columns are read, weight [n] > 0, out
// [n]. The mean over heads of the softmax of scores + ln(weight) is weight[j] exp(out[j]). At least
// ln(1e-37), also where a score is NaN. `work` [n] is written over. One thread.
void mix_heads(const float* scores, int64_t n_heads, int64_t stride, const float* weight, int64_t n,
               float* work, float* out);

// Writes n float32 values as bfloat16 (round to nearest even) to the 16-bit words at y.
void round_to_bf16(const float* x, int64_t n, uint16_t* y);

}  // namespace chunkllm
