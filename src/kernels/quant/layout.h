// Quantised weights in the layout that products read: the integers, scales and mins of the file's
// blocks (base/quant_blocks.h), regrouped, never rounded again.
//
// A matrix [n_out, n_in] is a row of panels of 16 outputs, a panel a row of units of 64 inputs (the
// formats whose blocks have 32) or 256; everything lies in the order in which it is read. In a unit
// stand, for each block of 32 inputs b and group of four inputs g = 0..7 in it,
//   8 bits    64 bytes: the inputs 4g..4g+3 of output o are the bytes 4o..4o+3 (offset 128);
//   4 bits    the same for g in the low nibbles, g + 4 in the high ones (g = 0..3);
//   5th bit   64 bytes a block: bit g of byte 4o+i belongs to input 4g+i;
//   6 bits    bits 4 and 5 in 2 x 64 bytes a block: bits 2(g%4), 2(g%4)+1 of vector g/4;
// then the scales (and mins) as they are in the file, 16 outputs side by side, and padding to a
// cache line. So a vector of integers is one load, its lanes are outputs, and no sum crosses lanes.
// Outputs and blocks that only pad have a scale of zero.
//
// This header holds constants and plain structures alone: it is included where code is compiled
// for one instruction set.
#pragma once

#include <cstdint>

#include "base/dtype.h"

namespace chunkllm {

inline constexpr int64_t kQuantPanelOutputs = 16;
inline constexpr int64_t kQuantBlock = 32;        // inputs that share an input scale
inline constexpr int64_t kQuantVectorBytes = 64;  // 16 outputs x 4 inputs
inline constexpr int64_t kQuantGroups = 8;        // vectors' worth of integers a block

// The layout of a unit; all members are bytes but for the first five.
template <DType kType>
struct QuantFormat {
  static constexpr bool kSuper =
      kType == DType::kQ4K || kType == DType::kQ5K || kType == DType::kQ6K;
  static constexpr bool kHasMin = kType == DType::kQ4K || kType == DType::kQ5K;
  static constexpr int kBits = kType == DType::kQ8_0  ? 8
                               : kType == DType::kQ6K ? 6
                               : kType == DType::kQ5K ? 5
                                                      : 4;
  // value = scale * (q - kOffset) - min
  static constexpr int kOffset = kType == DType::kQ8_0   ? 128
                                 : kType == DType::kQ4_0 ? 8
                                 : kType == DType::kQ6K  ? 32
                                                         : 0;
  static constexpr int64_t kBlocks = kSuper ? 8 : 2;
  // Of kSuper formats: scales of one byte for each 32 inputs, or (Q6_K) each 16.
  static constexpr int64_t kScalesPerBlock = kType == DType::kQ6K ? 2 : 1;

  static constexpr int64_t kLowBytes = kBlocks * kQuantVectorBytes * (kBits == 8 ? 8 : 4);
  static constexpr int64_t kHighBlock = kBits == 5 ? 64 : kBits == 6 ? 128 : 0;
  static constexpr int64_t kHigh = kLowBytes;
  static constexpr int64_t kScales = kHigh + kBlocks * kHighBlock;
  static constexpr int64_t kMins = kScales + (kSuper ? kBlocks * kScalesPerBlock * 16 : 0);
  // binary16: one vector a unit (kSuper), or one a block.
  static constexpr int64_t kD = kMins + (kHasMin ? kBlocks * 16 : 0);
  static constexpr int64_t kDmin = kD + (kSuper ? 1 : kBlocks) * 32;
  static constexpr int64_t kUsed = kDmin + (kHasMin ? 32 : 0);
  static constexpr int64_t kUnitBytes = (kUsed + 63) / 64 * 64;
  static constexpr int64_t kUnitInputs = kBlocks * kQuantBlock;
};

// A packed matrix, owned by a QuantMatrix.
struct QuantPanels {
  DType dtype = DType::kQ8_0;
  const uint8_t* data = nullptr;  // [n_panels, n_units, unit bytes], 64-byte aligned
  int64_t n_out = 0;
  int64_t n_in = 0;
  int64_t n_panels = 0;
  int64_t n_units = 0;
  int64_t panel_bytes = 0;
};

// Inputs rounded to int8 in blocks of 32: x = scale * value. A block that is not finite has the
// scale NaN. Rows are padded with zeros to a multiple of 256 inputs.
struct Int8Rows {
  const int8_t* values = nullptr;  // [n_tokens, n_blocks, 32]
  const float* scales = nullptr;   // [n_tokens, n_blocks]
  const int32_t* sums = nullptr;   // [n_tokens, n_blocks, 2]: of the block's halves of 16 values
  int64_t n_tokens = 0;
  int64_t n_blocks = 0;
};

}  // namespace chunkllm
