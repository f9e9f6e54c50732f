#include "kernels/machine/peaks.h"

#include <gtest/gtest.h>

#include <cmath>
#include <string>
#include <vector>

#include "testing/expect_error.h"

namespace chunkllm {
namespace {

// No more can be said of a speed than that it is one.
TEST(Peaks, AreFiniteAndPositiveAtEveryLevel) {
  for (const Isa isa : machine_isas()) {
    if (isa > active_isa()) {
      expect_error(ErrorCode::kUnsupported, std::string(isa_name(isa)),
                   [&] { product_peak(isa, 1); });
      continue;
    }
    const double peak = product_peak(isa, 2);
    EXPECT_TRUE(std::isfinite(peak) && peak > 0) << isa_name(isa);
  }
  const double bandwidth = memory_read_bandwidth(2);
  EXPECT_TRUE(std::isfinite(bandwidth) && bandwidth > 0);
}

}  // namespace
}  // namespace chunkllm
