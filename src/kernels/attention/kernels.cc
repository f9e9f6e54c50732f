#include "kernels/attention/kernels.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "kernels/attention/kernels.cc"
#include <hwy/foreach_target.h>
#include <hwy/highway.h>

#include "kernels/attention/block-inl.h"
#include "kernels/attention/decode-inl.h"
#include "kernels/attention/mass-inl.h"
#include "kernels/machine/kernel_set.h"

HWY_BEFORE_NAMESPACE();
namespace chunkllm::HWY_NAMESPACE {
namespace {

AttentionKernels highway_kernels() {
  return {.token = {attend_tokens_scratch, attend_tokens},
          .tile = {attend_tile_scratch, attend_tile, kTileColumns},
          .bf16_tile = {},
          .mass = {mass_tile_scratch, mass_tile}};
}

}  // namespace
}  // namespace chunkllm::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace chunkllm {
namespace {

HWY_EXPORT(highway_kernels);

AttentionKernels choose_kernels() {
  const auto bf16_tile = active_kernels().attention_tile;  // first: this caps Highway's targets
  AttentionKernels kernels = HWY_DYNAMIC_DISPATCH(highway_kernels)();
  if (bf16_tile != nullptr) kernels.bf16_tile = bf16_tile();
  return kernels;
}

}  // namespace

const AttentionKernels& attention_kernels() {
  static const AttentionKernels kernels = choose_kernels();
  return kernels;
}

}  // namespace chunkllm
#endif  // HWY_ONCE
