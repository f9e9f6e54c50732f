#include "base/quant_blocks.h"

#include <algorithm>
#include <cmath>
#include <cstring>

#include "base/error.h"
#include "base/half.h"

namespace chunkllm {
namespace {

void expand(const BlockQ8_0& block, float* y) {
  const float d = half_to_float(block.d);
  for (size_t i = 0; i < block.q.size(); ++i) y[i] = static_cast<float>(block.q[i]) * d;
}

void expand(const BlockQ4_0& block, float* y) {
  const float d = half_to_float(block.d);
  for (size_t i = 0; i < block.q.size(); ++i) {
    y[i] = static_cast<float>((block.q[i] & 15) - 8) * d;
    y[i + block.q.size()] = static_cast<float>((block.q[i] >> 4) - 8) * d;
  }
}

// Both types with scales and mins; `high(s, i)` is what is added to the nibble.
template <class Block, class High>
void expand_scaled(const Block& block, const High& high, float* y) {
  const float d = half_to_float(block.d);
  const float dmin = half_to_float(block.dmin);
  for (int s = 0; s < 8; ++s) {
    const ScaleAndMin sub = scale_and_min(block.scales, s);
    const float scale = d * static_cast<float>(sub.scale);
    const float min = dmin * static_cast<float>(sub.min);
    const uint8_t* q = block.q.data() + 32 * (s / 2);
    for (int i = 0; i < 32; ++i) {
      const int nibble = s % 2 == 0 ? q[i] & 15 : q[i] >> 4;
      y[32 * s + i] = scale * static_cast<float>(nibble + high(s, i)) - min;
    }
  }
}

void expand(const BlockQ4K& block, float* y) {
  expand_scaled(
      block, [](int, int) { return 0; }, y);
}

void expand(const BlockQ5K& block, float* y) {
  const auto high = [&block](int s, int i) {
    return ((block.high[static_cast<size_t>(i)] >> s) & 1) * 16;
  };
  expand_scaled(block, high, y);
}

void expand(const BlockQ6K& block, float* y) {
  const float d = half_to_float(block.d);
  for (int h = 0; h < 2; ++h) {
    const uint8_t* low = block.low.data() + 64 * h;
    const uint8_t* high = block.high.data() + 32 * h;
    const int8_t* scales = block.scales.data() + 8 * h;
    for (int r = 0; r < 4; ++r) {
      for (int i = 0; i < 32; ++i) {
        const int nibble = (low[32 * (r % 2) + i] >> (4 * (r / 2))) & 15;
        const int q = nibble | ((high[i] >> (2 * r)) & 3) << 4;
        const float scale = d * static_cast<float>(scales[2 * r + (i < 16 ? 0 : 1)]);
        y[128 * h + 32 * r + i] = scale * static_cast<float>(q - 32);
      }
    }
  }
}

template <class Block>
void expand_blocks(const std::byte* source, int64_t n, float* target) {
  for (int64_t i = 0; i < n; i += Block::kElements, source += sizeof(Block)) {
    Block block;
    std::memcpy(&block, source, sizeof(block));
    expand(block, target + i);
  }
}

BlockQ8_0 to_q8_0(const float* x) {
  float largest = 0.0f;
  for (int i = 0; i < kSmallBlock; ++i) largest = std::max(largest, std::fabs(x[i]));
  const float d = largest / 127.0f;
  const float inverse = d == 0.0f ? 0.0f : 1.0f / d;
  BlockQ8_0 block{.d = float_to_half(d), .q = {}};
  for (int i = 0; i < kSmallBlock; ++i) {
    block.q[static_cast<size_t>(i)] = static_cast<int8_t>(std::round(x[i] * inverse));
  }
  return block;
}

// The value of largest magnitude becomes -8 exactly.
BlockQ4_0 to_q4_0(const float* x) {
  float largest = 0.0f;
  for (int i = 0; i < kSmallBlock; ++i) {
    if (std::fabs(x[i]) > std::fabs(largest)) largest = x[i];
  }
  const float d = largest / -8.0f;
  const float inverse = d == 0.0f ? 0.0f : 1.0f / d;
  const auto nibble = [&](float value) {
    return std::min(15, static_cast<int>(value * inverse + 8.5f));
  };
  BlockQ4_0 block{.d = float_to_half(d), .q = {}};
  for (size_t i = 0; i < block.q.size(); ++i) {
    block.q[i] = static_cast<uint8_t>(nibble(x[i]) | nibble(x[i + block.q.size()]) << 4);
  }
  return block;
}

template <class Block, class Convert>
void pack_blocks(const float* source, int64_t n, std::byte* target, const Convert& convert) {
  for (int64_t i = 0; i < n; i += Block::kElements, target += sizeof(Block)) {
    const Block block = convert(source + i);
    std::memcpy(target, &block, sizeof(block));
  }
}

}  // namespace

ScaleAndMin scale_and_min(const std::array<uint8_t, 12>& scales, int s) {
  const auto at = [&scales](int i) { return scales[static_cast<size_t>(i)]; };
  if (s < 4) {
    return {static_cast<uint8_t>(at(s) & 63), static_cast<uint8_t>(at(s + 4) & 63)};
  }
  return {static_cast<uint8_t>((at(s + 4) & 15) | (at(s - 4) >> 6) << 4),
          static_cast<uint8_t>((at(s + 4) >> 4) | (at(s) >> 6) << 4)};
}

void dequantize(DType dtype, const std::byte* source, int64_t n, float* target) {
  switch (dtype) {
    case DType::kQ8_0:
      return expand_blocks<BlockQ8_0>(source, n, target);
    case DType::kQ4_0:
      return expand_blocks<BlockQ4_0>(source, n, target);
    case DType::kQ4K:
      return expand_blocks<BlockQ4K>(source, n, target);
    case DType::kQ5K:
      return expand_blocks<BlockQ5K>(source, n, target);
    case DType::kQ6K:
      return expand_blocks<BlockQ6K>(source, n, target);
    case DType::kF32:
    case DType::kF16:
    case DType::kBf16:
    case DType::kI32:
    case DType::kI64:
    case DType::kU8:
      break;
  }
  fail(ErrorCode::kUnsupported, "{} is not a quantised type", dtype_name(dtype));
}

void quantize(DType dtype, const float* source, int64_t n, std::byte* target) {
  if (dtype == DType::kQ8_0) {
    pack_blocks<BlockQ8_0>(source, n, target, to_q8_0);
  } else if (dtype == DType::kQ4_0) {
    pack_blocks<BlockQ4_0>(source, n, target, to_q4_0);
  } else {
    fail(ErrorCode::kUnsupported, "values cannot be quantised to {}; use Q8_0 or Q4_0",
         dtype_name(dtype));
  }
}

}  // namespace chunkllm
