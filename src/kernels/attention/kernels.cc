#include "kernels/attention/kernels.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "kernels/attention/kernels.cc"
#include <hwy/foreach_target.h>
#include <hwy/highway.h>

#include "kernels/attention/block-inl.h"
#include "kernels/attention/decode-inl.h"
#include "kernels/attention/mass-inl.h"
#include "kernels/machine/kernel_set.h"

#if HWY_ONCE
namespace chunkllm {

HWY_EXPORT(attend_tile_scratch_simd);
HWY_EXPORT(attend_token_scratch_simd);
HWY_EXPORT(mass_tile_scratch_simd);
HWY_EXPORT(attend_tile_simd);
HWY_EXPORT(attend_token_simd);
HWY_EXPORT(mass_tile_simd);

namespace {

// The kernel for bf16 pairs that takes a tile of queries over such rows; null: Highway's.
const AttentionTileKernel* bf16_kernel(KvType type, int64_t head_dim) {
  static const auto table = active_kernels().attention_tile;
  if (table == nullptr || type == KvType::kF32 || head_dim % 32 != 0) return nullptr;
  static const AttentionTileKernel kernel = table();
  return &kernel;
}

}  // namespace

int64_t attend_tile_columns(KvType type, int64_t head_dim) {
  return bf16_kernel(type, head_dim) == nullptr ? 192 : 512;
}

size_t attend_tile_scratch(KvType type, int64_t n_tokens, int64_t n_heads, int64_t head_dim) {
  const AttentionTileKernel* bf16 = bf16_kernel(type, head_dim);
  if (bf16 != nullptr) return bf16->scratch(n_tokens, n_heads, head_dim);
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
  const AttentionTileKernel* bf16 = bf16_kernel(kv.type, kv.head_dim);
  if (bf16 != nullptr) return bf16->attend(query, first_position, kv, rows, target, scratch);
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
