#include "kernels/attention_kernels.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "kernels/attention_kernels.cc"
#include <hwy/foreach_target.h>
#include <hwy/highway.h>

#include "kernels/attention_bf16.h"
#include "kernels/attention_block-inl.h"
#include "kernels/attention_decode-inl.h"
#include "kernels/attention_mass-inl.h"
#include "kernels/isa.h"

#if HWY_ONCE
namespace chunkllm {

HWY_EXPORT(attend_tile_scratch_simd);
HWY_EXPORT(attend_token_scratch_simd);
HWY_EXPORT(mass_tile_scratch_simd);
HWY_EXPORT(attend_tile_simd);
HWY_EXPORT(attend_token_simd);
HWY_EXPORT(mass_tile_simd);

namespace {

bool uses_amx(KvType type, int64_t head_dim) {
  return type != KvType::kF32 && head_dim % 32 == 0 && active_isa() >= Isa::kAmx;
}

}  // namespace

int64_t attend_tile_columns(KvType type, int64_t head_dim) {
  return uses_amx(type, head_dim) ? 512 : 192;
}

size_t attend_tile_scratch(KvType type, int64_t n_tokens, int64_t n_heads, int64_t head_dim) {
  if (uses_amx(type, head_dim)) return attend_tile_amx_scratch(n_tokens, n_heads, head_dim);
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
  if (uses_amx(kv.type, kv.head_dim)) {
    attend_tile_amx(query, first_position, kv, rows, target, scratch);
    return;
  }
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
