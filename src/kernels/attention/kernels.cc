#include "kernels/attention/kernels.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "kernels/attention/kernels.cc"
#include <hwy/foreach_target.h>
#include <hwy/highway.h>

#include "kernels/attention/bf16.h"
#include "kernels/attention/block-inl.h"
#include "kernels/attention/decode-inl.h"
#include "kernels/attention/mass-inl.h"
#include "kernels/machine/isa.h"

#if HWY_ONCE
namespace chunkllm {

HWY_EXPORT(attend_tile_scratch_simd);
HWY_EXPORT(attend_token_scratch_simd);
HWY_EXPORT(mass_tile_scratch_simd);
HWY_EXPORT(attend_tile_simd);
HWY_EXPORT(attend_token_simd);
HWY_EXPORT(mass_tile_simd);

namespace {

// What a tile of queries is multiplied with.
enum class TileUnit { kSimd, kBf16, kAmx };

TileUnit tile_unit(KvType type, int64_t head_dim) {
  if (type == KvType::kF32 || head_dim % 32 != 0) return TileUnit::kSimd;
  if (active_isa() >= Isa::kAmx) return TileUnit::kAmx;
  return active_isa() >= Isa::kAvx512Bf16 ? TileUnit::kBf16 : TileUnit::kSimd;
}

}  // namespace

int64_t attend_tile_columns(KvType type, int64_t head_dim) {
  return tile_unit(type, head_dim) == TileUnit::kSimd ? 192 : 512;
}

size_t attend_tile_scratch(KvType type, int64_t n_tokens, int64_t n_heads, int64_t head_dim) {
  switch (tile_unit(type, head_dim)) {
    case TileUnit::kAmx:
      return attend_tile_amx_scratch(n_tokens, n_heads, head_dim);
    case TileUnit::kBf16:
      return attend_tile_bf16_scratch(n_tokens, n_heads, head_dim);
    case TileUnit::kSimd:
      break;
  }
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
  switch (tile_unit(kv.type, kv.head_dim)) {
    case TileUnit::kAmx:
      return attend_tile_amx(query, first_position, kv, rows, target, scratch);
    case TileUnit::kBf16:
      return attend_tile_bf16(query, first_position, kv, rows, target, scratch);
    case TileUnit::kSimd:
      break;
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
