// Quantised weights in the layout that products read: the integers, scales and mins of the file's
// blocks (base/quant/formats.h), regrouped, never rounded again.
//
// A matrix [n_out, n_in] is a row of panels of 16 outputs, a panel a row of units of 64 inputs (the
// formats whose blocks have 32) or 256; everything lies in the order in which it is read. In a unit
// stand, for each block of 32 inputs b and group of four inputs g = 0..7 in it,
//   8 bits    64 bytes: the inputs 4g..4g+3 of output o are the bytes 4o..4o+3;
//   4 bits    the same for g in the low nibbles, g + 4 in the high ones (g = 0..3);
//   2 bits    2 x 64 bytes a block: bits 2(g%4), 2(g%4)+1 of vector g/4;
//   1 bit     64 bytes a block: bit g of byte 4o+i belongs to input 4g+i.
// Codes of 3, 5 and 6 bits have low bits (2, 4 and 4) and, behind those of all blocks, high bits;
// then the scales (and mins) as they are in the file, 16 outputs side by side, and padding to a
// cache line. So a vector of integers is one load, its lanes are outputs, and no sum crosses lanes.
// Outputs and blocks that only pad have a scale of zero.
//
// This header holds constants and plain structures alone: it is included where code is compiled
// for one instruction set.
#pragma once

#include <cstdint>

#include "base/dtype.h"
#include "base/quant/formats.h"

namespace chunkllm {

inline constexpr int64_t kQuantPanelOutputs = 16;
inline constexpr int64_t kQuantBlock = 32;        // inputs that share an input scale
inline constexpr int64_t kQuantVectorBytes = 64;  // 16 outputs x 4 inputs
inline constexpr int64_t kQuantGroups = 8;        // vectors' worth of integers a block

// The first row of kQuantFormats that has the layout of row `index`: kernels are made for it.
constexpr int layout_index(int index) {
  int first = 0;
  while (!(kQuantFormats[first].layout == kQuantFormats[index].layout)) ++first;
  return first;
}

// The layout of a unit, for a row of kQuantFormats; offsets and sizes are bytes.
template <int kIndex>
struct UnitLayout {
  static constexpr QuantLayout kCodes = kQuantFormats[kIndex].layout;
  static constexpr bool kSuper = kCodes.has_byte_scales();
  static constexpr bool kHasMin = kCodes.has_min;
  static constexpr int kLowBits = kCodes.bits == 8 ? 8 : kCodes.bits >= 4 ? 4 : 2;
  static constexpr int kHighBits = kCodes.bits - kLowBits;
  static_assert(kHighBits >= 0 && kHighBits <= 2 && (!kCodes.has_codebook || kCodes.bits == 4));
  static_assert(kSuper == (kQuantFormats[kIndex].block_elements == kSuperBlock));
  static_assert(kSuper || kCodes.sub_block == kSmallBlock);

  static constexpr int64_t kBlocks = kSuper ? 8 : 2;
  static constexpr int kSubBlocks = 32 / kCodes.sub_block;  // of a block of 32 inputs: 1 or 2
  static constexpr int64_t kUnitInputs = kBlocks * kQuantBlock;

  static constexpr int64_t kLowBlock = kQuantVectorBytes * kLowBits;
  static constexpr int64_t kHighBlock = kQuantVectorBytes * kHighBits;
  static constexpr int64_t kHigh = kBlocks * kLowBlock;
  // Of sub-blocks, 16 bytes each; nibbles hold mins beside scales.
  static constexpr int64_t kSubBytes = kSuper ? kBlocks * kSubBlocks * 16 : 0;
  static constexpr bool kHasMinBytes = kSuper && kHasMin && kCodes.scale != ScaleKind::kNibble;
  static constexpr int64_t kScales = kHigh + kBlocks * kHighBlock;
  static constexpr int64_t kMins = kScales + (kHasMinBytes ? kSubBytes : 0);
  // 16 bits each: one vector a unit (kSuper), or one a block.
  static constexpr int64_t kDBytes = (kSuper ? 1 : kBlocks) * 32;
  static constexpr int64_t kD = kMins + kSubBytes;
  static constexpr int64_t kDmin = kD + kDBytes;
  static constexpr int64_t kUsed = kDmin + (kHasMin ? kDBytes : 0);
  static constexpr int64_t kUnitBytes = (kUsed + 63) / 64 * 64;
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
