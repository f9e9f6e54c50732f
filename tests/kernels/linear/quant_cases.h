// Quantised matrices with random content, for tests and benchmarks of products.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <vector>

#include "base/dtype.h"
#include "base/half.h"
#include "base/quant/blocks.h"
#include "base/random.h"

namespace chunkllm::test {

// The quantised types, and where a block has its binary16 numbers (MXFP4: none).
struct QuantType {
  DType dtype;
  std::vector<int64_t> halves;
};

inline const std::vector<QuantType>& quant_types() {
  static const std::vector<QuantType> types = {
      {DType::kQ4_0, {0}},   {DType::kQ4_1, {0, 2}},  {DType::kQ5_0, {0}},  {DType::kQ5_1, {0, 2}},
      {DType::kQ8_0, {0}},   {DType::kQ2K, {80, 82}}, {DType::kQ3K, {108}}, {DType::kQ4K, {0, 2}},
      {DType::kQ5K, {0, 2}}, {DType::kQ6K, {208}},    {DType::kIq4Nl, {0}}, {DType::kIq4Xs, {0}},
      {DType::kMxfp4, {}},
  };
  return types;
}

// A matrix as a file holds it, its data at an odd address, and its values in float32.
class QuantCase {
 public:
  // Integers are random, scales random around 0.01, of both signs.
  QuantCase(DType dtype, int64_t n_rows, int64_t n_cols, uint64_t seed)
      : QuantCase(
            dtype, n_rows, n_cols,
            [rng = Rng(seed)]() mutable { return static_cast<uint8_t>(rng.below(256)); }, seed) {}

  // Every byte of integers is `fill`, scales as above.
  QuantCase(DType dtype, int64_t n_rows, int64_t n_cols, uint8_t fill, uint64_t seed)
      : QuantCase(
            dtype, n_rows, n_cols, [fill] { return fill; }, seed) {}

  MatrixView view() const { return {dtype_, bytes_.data() + 1, n_rows_, n_cols_}; }
  const std::vector<float>& values() const { return values_; }

 private:
  template <class Byte>
  QuantCase(DType dtype, int64_t n_rows, int64_t n_cols, Byte byte, uint64_t seed)
      : dtype_(dtype), n_rows_(n_rows), n_cols_(n_cols) {
    const int64_t n_bytes = dtype_row_bytes(dtype, n_rows * n_cols);
    bytes_.resize(static_cast<size_t>(n_bytes + 1));
    for (std::byte& b : bytes_) b = std::byte{static_cast<uint8_t>(byte())};
    const auto& types = quant_types();
    const auto& halves = std::ranges::find(types, dtype, &QuantType::dtype)->halves;
    Rng rng(seed + 1);
    std::byte* block = bytes_.data() + 1;
    for (int64_t i = 0; i < n_bytes; i += dtype_block_bytes(dtype)) {
      for (const int64_t at : halves) {
        const uint16_t bits = float_to_half(static_cast<float>(0.01 * rng.normal()));
        std::memcpy(block + i + at, &bits, sizeof(bits));
      }
      if (halves.empty()) block[i] = std::byte{static_cast<uint8_t>(120 + rng.below(4))};
    }
    values_.resize(static_cast<size_t>(n_rows * n_cols));
    dequantize(dtype, block, n_rows * n_cols, values_.data());
  }

  DType dtype_;
  int64_t n_rows_;
  int64_t n_cols_;
  std::vector<std::byte> bytes_;
  std::vector<float> values_;
};

}  // namespace chunkllm::test
