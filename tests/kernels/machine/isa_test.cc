#include "kernels/machine/isa.h"

#include <gtest/gtest.h>
#include <hwy/highway.h>

#include <algorithm>
#include <cstdint>
#include <cstdlib>
#include <oneapi/dnnl/dnnl.hpp>
#include <string>

#include "kernels/linear/linear.h"
#include "testing/expect_error.h"

namespace chunkllm {
namespace {

std::string level_asked() {
  const char* level = std::getenv("CHUNKLLM_ISA");
  return level == nullptr ? "" : level;
}

TEST(Isa, MachineLevelsAscendFromScalar) {
  const auto isas = machine_isas();
  ASSERT_FALSE(isas.empty());
  EXPECT_EQ(isas.front(), Isa::kScalar);
  for (size_t i = 0; i < isas.size(); ++i) {
    EXPECT_EQ(isas[i], static_cast<Isa>(i)) << "a level must include those before it";
  }
}

TEST(Isa, OverrideIsTheActiveLevelElseTheBest) {
  if (level_asked().empty()) {
    EXPECT_EQ(active_isa(), machine_isas().back());
  } else {
    EXPECT_EQ(isa_name(active_isa()), level_asked());
  }
}

TEST(Isa, HighwayFollows) {
  const Isa active = active_isa();
  const int64_t targets = hwy::SupportedTargets();
  EXPECT_EQ((targets & HWY_AVX2) != 0, active >= Isa::kAvx2);
  EXPECT_EQ((targets & HWY_AVX3) != 0, active >= Isa::kAvx512);
  EXPECT_NE(targets & (HWY_SCALAR | HWY_EMU128), 0);
}

TEST(Isa, OneDnnFollows) {
  using dnnl::cpu_isa;
  const auto has = [effective = static_cast<unsigned>(dnnl::get_effective_cpu_isa())](cpu_isa isa) {
    const auto bits = static_cast<unsigned>(isa);
    return (effective & bits) == bits;
  };
  const Isa active = active_isa();
  EXPECT_TRUE(has(cpu_isa::sse41));
  EXPECT_EQ(has(cpu_isa::avx2), active >= Isa::kAvx2);
  EXPECT_EQ(has(cpu_isa::avx512_core), active >= Isa::kAvx512);
  EXPECT_EQ(has(cpu_isa::avx512_core_bf16), active >= Isa::kAvx512Bf16);
  EXPECT_EQ(has(cpu_isa::avx512_core_amx), active >= Isa::kAmx);
}

TEST(Isa, Bf16ProductsNeedTheirLevel) {
  EXPECT_EQ(bf16_products_available(), active_isa() >= Isa::kAvx512Bf16);
}

// active_isa() fixes the level of a process, so an unusable one needs a process of its own.
TEST(IsaDeathTest, UnknownLevelIsAnError) {
  GTEST_FLAG_SET(death_test_style, "threadsafe");
  const auto run = [] {
    ::setenv("CHUNKLLM_ISA", "avx1024", 1);
    for (int attempt = 0; attempt < 2; ++attempt) {
      expect_error(ErrorCode::kInvalidArgument, "avx1024", [] { active_isa(); });
    }
    std::exit(testing::Test::HasFailure() ? 1 : 0);
  };
  EXPECT_EXIT(run(), testing::ExitedWithCode(0), "");
}

}  // namespace
}  // namespace chunkllm
