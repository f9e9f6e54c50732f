// Attention of a tile of queries over bf16 rows, on units that multiply pairs of bf16 numbers. Same
// arguments and results as attend_tile() of attention_kernels.h, and as exact as bf16 queries and
// weights allow. The caller has checked the instruction set.
#pragma once

#include <cstddef>
#include <cstdint>

#include "kernels/attention/kernels.h"

namespace chunkllm {

// Both for head_dim a multiple of 32 and a KV cache that is not float32. vdpbf16ps:
size_t attend_tile_bf16_scratch(int64_t n_tokens, int64_t n_heads, int64_t head_dim);
void attend_tile_bf16(const QueryTile& query, int64_t first_position, const KvHeadView& kv,
                      RowCursor rows, const AttentionTarget& target, float* scratch);

// AMX tiles:
size_t attend_tile_amx_scratch(int64_t n_tokens, int64_t n_heads, int64_t head_dim);
void attend_tile_amx(const QueryTile& query, int64_t first_position, const KvHeadView& kv,
                     RowCursor rows, const AttentionTarget& target, float* scratch);

}  // namespace chunkllm
