// The vectorised kernels under attention.h. Each runs on one thread over one KV head's rows;
// arguments are checked above. All arrays are float32 but for the cached rows.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>

#include "base/range.h"
#include "kernels/attention/attention.h"
#include "kernels/attention/rows.h"

namespace chunkllm {

// Scores are kept in units of log 2, so that exp is a power of two: the queries' scale holds this.
inline constexpr float kLog2E = 1.44269504088896340736f;

// A running maximum that no score is below, and small enough to leave no trace.
inline constexpr float kNoMaximum = -1e38f;

// One KV head's rows, head_dim elements each: that of position p is p * step_bytes behind the
// first.
struct KvHeadView {
  const void* keys = nullptr;
  const void* values = nullptr;
  KvType type = KvType::kF32;
  int64_t head_dim = 0;  // a multiple of 8
  int64_t step_bytes = 0;
  const float* log_weights = nullptr;  // [capacity], added to scores: in units of log 2; or null
};

// Query token i at q + i * q_stride, its n_heads heads (those of one KV head) contiguous.
struct QueryTile {
  const float* q = nullptr;
  int64_t q_stride = 0;  // floats
  int64_t n_tokens = 0;
  int64_t n_heads = 0;
  float scale = 1.0f;  // of the dot products, times kLog2E
};

// Where the state of query token i, head h goes: either the finished output, or the three parts
// from which states over other rows can be merged (max and sum of the softmax, in units of log 2).
struct AttentionTarget {
  float* out = nullptr;  // token i at out + i * out_stride, [n_heads, head_dim]
  int64_t out_stride = 0;
  float* log_sum_exp =
      nullptr;  // token i at + i * log_sum_exp_stride, [n_heads]; natural log; or null
  int64_t log_sum_exp_stride = 0;
  float* max = nullptr;  // [n_tokens, n_heads]; with `sum`: leave `out` undivided and write these
  float* sum = nullptr;  // [n_tokens, n_heads]
};

// A few consecutive queries, the first at `first_position`, over the rows of `rows` that are not
// after them. Reads every cached row once, straight from the cache; what a query gets is the same
// bits whichever share the call.
struct AttentionTokenKernel {
  size_t (*scratch_floats)(int64_t n_tokens, int64_t n_heads, int64_t head_dim) = nullptr;
  void (*attend)(const QueryTile& query, int64_t first_position, const KvHeadView& kv,
                 RowCursor rows, const AttentionTarget& target, float* scratch) = nullptr;
};

// The same for many, up to rounding.
struct AttentionTileKernel {
  size_t (*scratch_floats)(int64_t n_tokens, int64_t n_heads, int64_t head_dim) = nullptr;
  void (*attend)(const QueryTile& query, int64_t first_position, const KvHeadView& kv,
                 RowCursor rows, const AttentionTarget& target, float* scratch) = nullptr;
  int64_t columns = 0;  // (token, head), from which on more would not make it more efficient
};

// mass[i * mass_stride + j] += weight * sum over heads h and rows r of chunks[j], r <=
// positions[i], of exp2(scale q[i, h] . k[r] - log_sum_exp[i * log_sum_exp_stride + h] * kLog2E).
struct MassTask {
  QueryTile query;
  const int64_t* positions = nullptr;  // [n_tokens], ascending
  const float* log_sum_exp = nullptr;  // natural log
  int64_t log_sum_exp_stride = 0;
  std::span<const Range> chunks;
  float weight = 1.0f;
  float* mass = nullptr;
  int64_t mass_stride = 0;
};
struct MassTileKernel {
  size_t (*scratch_floats)(int64_t n_tokens, int64_t n_heads, int64_t head_dim) = nullptr;
  void (*add)(const MassTask& task, const KvHeadView& kv, float* scratch) = nullptr;
};

// `scratch` has as many floats as the kernel says for a call, aligned to 64 bytes.
struct AttentionKernels {
  AttentionTokenKernel token;
  AttentionTileKernel tile;
  // Multiplies pairs of bf16 numbers: for head_dim a multiple of 32 and rows that are not float32,
  // and as exact as bf16 queries and weights allow. Null where the processor has no such products.
  AttentionTileKernel bf16_tile;
  MassTileKernel mass;
};

// The kernels of active_isa(): chosen once. Throws as that does.
const AttentionKernels& attention_kernels();

}  // namespace chunkllm
