#include "kernels/attention_kernels.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "kernels/attention_kernels.cc"
#include <hwy/foreach_target.h>
#include <hwy/highway.h>

#include "kernels/attention_block-inl.h"
#include "kernels/attention_decode-inl.h"
#include "kernels/attention_mass-inl.h"

#if HWY_ONCE
namespace chunkllm {

HWY_EXPORT(attend_tile_scratch_simd);
HWY_EXPORT(attend_token_scratch_simd);
HWY_EXPORT(mass_tile_scratch_simd);
HWY_EXPORT(attend_tile_simd);
HWY_EXPORT(attend_token_simd);
HWY_EXPORT(mass_tile_simd);

size_t attend_tile_scratch(int64_t n_tokens, int64_t n_heads, int64_t head_dim) {
  return HWY_DYNAMIC_DISPATCH(attend_tile_scratch_simd)(n_tokens, n_heads, head_dim);
}

size_t attend_token_scratch(int64_t n_heads, int64_t head_dim) {
  return HWY_DYNAMIC_DISPATCH(attend_token_scratch_simd)(n_heads, head_dim);
}

size_t mass_tile_scratch(int64_t n_tokens, int64_t n_heads, int64_t head_dim) {
  return HWY_DYNAMIC_DISPATCH(mass_tile_scratch_simd)(n_tokens, n_heads, head_dim);
}

void attend_tile(const QueryTile& query, int64_t first_position, const KvHeadView& kv,
                 RowCursor rows, const AttentionTarget& target, float* scratch) {
  HWY_DYNAMIC_DISPATCH(attend_tile_simd)(query, first_position, kv, rows, target, scratch);
}

void attend_token(const QueryTile& query, const KvHeadView& kv, RowCursor rows,
                  const AttentionTarget& target, float* scratch) {
  HWY_DYNAMIC_DISPATCH(attend_token_simd)(query, kv, rows, target, scratch);
}

void mass_tile(const MassTask& task, const KvHeadView& kv, float* scratch) {
  HWY_DYNAMIC_DISPATCH(mass_tile_simd)(task, kv, scratch);
}

}  // namespace chunkllm
#endif  // HWY_ONCE
