// Blocks of quantised weights: taken apart, and as float32. encode.h makes them.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <span>

#include "base/dtype.h"
#include "base/quant/formats.h"

namespace chunkllm {

// A block of kQ8_0, which cached keys and values have, too: value[i] = d * q[i]. Little-endian; `d`
// is an IEEE binary16.
struct BlockQ8_0 {
  static constexpr int64_t kElements = kSmallBlock;
  uint16_t d;
  std::array<int8_t, kSmallBlock> q;
};
static_assert(sizeof(BlockQ8_0) == 34);

// The row of kQuantFormats. Throws Error (kUnsupported) for a type that is not quantised.
const QuantFormat& quant_format(DType dtype);

// Takes apart one block at `source` (any alignment). What the format's layout has no use for is
// left as it is.
using DecodeBlock = void (*)(const std::byte* source, QuantBlock& block);
DecodeBlock block_decoder(DType dtype);

// `n` elements (whole blocks) of a quantised type at `source` (any alignment) as float32, equal to
// ggml's bit for bit.
void dequantize(DType dtype, const std::byte* source, int64_t n, float* target);

}  // namespace chunkllm
