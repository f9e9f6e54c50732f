#include "kernels/machine/peaks.h"

#include <gtest/gtest.h>

#include <cmath>

#include "testing/expect_error.h"

namespace chunkllm {
namespace {

// No more can be said of a speed than that it is one.
TEST(Peaks, AreFiniteAndPositive) {
  for (const ProductType type : {ProductType::kF32, ProductType::kBf16}) {
    if (type == ProductType::kBf16 && !bf16_products_available()) {
      expect_error(ErrorCode::kUnsupported, "bf16", [&] { product_peak(type, 1); });
      continue;
    }
    const double peak = product_peak(type, 2);
    EXPECT_TRUE(std::isfinite(peak) && peak > 0) << product_type_name(type);
  }
  const double bytes = int8_peak(2);
  EXPECT_TRUE(std::isfinite(bytes) && bytes > 0);
  for (const int64_t n_bytes : {int64_t{0}, int64_t{1000}, int64_t{1} << 20, int64_t{1} << 40}) {
    const double bandwidth = memory_read_bandwidth(2, n_bytes);
    EXPECT_TRUE(std::isfinite(bandwidth) && bandwidth > 0) << n_bytes;
  }
}

}  // namespace
}  // namespace chunkllm
