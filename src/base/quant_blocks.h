// The block formats of quantised weights, as GGUF files hold them (ggml's "gguf" specification and
// its quantisation types). All fields are little-endian; `d` and `dmin` are IEEE binary16.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>

#include "base/dtype.h"

namespace chunkllm {

inline constexpr int64_t kSmallBlock = 32;
inline constexpr int64_t kSuperBlock = 256;

// value[i] = d * q[i]
struct BlockQ8_0 {
  static constexpr int64_t kElements = kSmallBlock;
  uint16_t d;
  std::array<int8_t, kSmallBlock> q;
};

// value[i] = d * (nibble - 8); byte i holds element i (low) and i + 16 (high).
struct BlockQ4_0 {
  static constexpr int64_t kElements = kSmallBlock;
  uint16_t d;
  std::array<uint8_t, kSmallBlock / 2> q;
};

// value = d * scale * nibble - dmin * min. Eight sub-blocks of 32, each with a scale and a min of 6
// bits. Bytes [32 g, 32 g + 32) of q hold sub-block 2g (low nibbles) and 2g + 1 (high).
struct BlockQ4K {
  static constexpr int64_t kElements = kSuperBlock;
  uint16_t d;
  uint16_t dmin;
  std::array<uint8_t, 12> scales;  // see scale_and_min()
  std::array<uint8_t, kSuperBlock / 2> q;
};

// As BlockQ4K, with a fifth bit: bit s of high[i] belongs to element i of sub-block s.
struct BlockQ5K {
  static constexpr int64_t kElements = kSuperBlock;
  uint16_t d;
  uint16_t dmin;
  std::array<uint8_t, 12> scales;
  std::array<uint8_t, kSuperBlock / 8> high;
  std::array<uint8_t, kSuperBlock / 2> q;
};

// value = d * scale * (q - 32), q of 6 bits; sixteen sub-blocks of 16 with a signed scale each.
// Half h of the block (128 elements) has 64 bytes of `low` and 32 of `high`: element 32 r + i of it
// (r < 4) takes nibble r / 2 of low[32 (r % 2) + i], and bits 2r, 2r + 1 of high[i].
struct BlockQ6K {
  static constexpr int64_t kElements = kSuperBlock;
  std::array<uint8_t, kSuperBlock / 2> low;
  std::array<uint8_t, kSuperBlock / 4> high;
  std::array<int8_t, kSuperBlock / 16> scales;
  uint16_t d;
};

static_assert(sizeof(BlockQ8_0) == 34 && sizeof(BlockQ4_0) == 18 && sizeof(BlockQ4K) == 144 &&
              sizeof(BlockQ5K) == 176 && sizeof(BlockQ6K) == 210);

// Scale and min of sub-block `s` (0 to 7) of BlockQ4K and BlockQ5K.
struct ScaleAndMin {
  uint8_t scale;
  uint8_t min;
};
ScaleAndMin scale_and_min(const std::array<uint8_t, 12>& scales, int s);

// `n` elements (whole blocks) of a quantised type at `source` (any alignment) as float32. The
// operations are float32 in the order of the formulas above, which is ggml's.
void dequantize(DType dtype, const std::byte* source, int64_t n, float* target);

// `n` finite values (whole blocks) as kQ8_0 or kQ4_0 to `target`, with ggml's rounding, so that
// files equal those of its tools. Throws Error (kUnsupported) for other types.
void quantize(DType dtype, const float* source, int64_t n, std::byte* target);

}  // namespace chunkllm
