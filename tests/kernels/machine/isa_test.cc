#include "kernels/machine/isa.h"

#include <gtest/gtest.h>
#include <hwy/highway.h>

#include <algorithm>
#include <cstdint>
#include <cstdlib>
#include <oneapi/dnnl/dnnl.hpp>
#include <string>
#include <string_view>

#include "kernels/linear/precision.h"
#include "kernels/machine/levels.h"
#include "testing/expect_error.h"

namespace chunkllm {
namespace {

std::string level_asked() {
  const char* level = std::getenv("CHUNKLLM_ISA");
  return level == nullptr ? "" : level;
}

// Where `name` stands among the levels that this build knows.
size_t rank(std::string_view name) {
  const auto names = isa_names();
  return static_cast<size_t>(std::ranges::find(names, name) - names.begin());
}
bool at_least(std::string_view name) { return rank(active_isa()) >= rank(name); }

TEST(Isa, LevelsAscendFromScalar) {
  EXPECT_EQ(isa_names().front(), "scalar");
  EXPECT_EQ(machine_isas().front(), "scalar");
  for (const std::string_view name : machine_isas()) EXPECT_LT(rank(name), isa_names().size());
  EXPECT_TRUE(std::ranges::is_sorted(machine_isas(), {}, rank));
}

TEST(Isa, OverrideIsTheActiveLevelElseTheBest) {
  if (level_asked().empty()) {
    EXPECT_EQ(active_isa(), machine_isas().back());
  } else {
    EXPECT_EQ(active_isa(), level_asked());
  }
}

#if HWY_ARCH_X86
// A level is there only where the compiler's own look at the processor says so too.
TEST(Isa, MachineLevelsAreTheProcessors) {
  const auto names = machine_isas();
  const auto has = [&](std::string_view name) {
    return std::ranges::find(names, name) != names.end();
  };
  EXPECT_EQ(has("avx2"), __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma"));
  EXPECT_EQ(has("avx512"), __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512vl"));
  EXPECT_TRUE(!has("avx512_bf16") || __builtin_cpu_supports("avx512bf16"));
}

TEST(Isa, HighwayFollows) {
  const int64_t targets = hwy::SupportedTargets();
  EXPECT_EQ((targets & HWY_AVX2) != 0, at_least("avx2"));
  EXPECT_EQ((targets & HWY_AVX3) != 0, at_least("avx512"));
  EXPECT_NE(targets & (HWY_SCALAR | HWY_EMU128), 0);
}

TEST(Isa, OneDnnFollows) {
  using dnnl::cpu_isa;
  const auto has = [effective = static_cast<unsigned>(dnnl::get_effective_cpu_isa())](cpu_isa isa) {
    const auto bits = static_cast<unsigned>(isa);
    return (effective & bits) == bits;
  };
  active_isa();
  EXPECT_TRUE(has(cpu_isa::sse41));
  EXPECT_EQ(has(cpu_isa::avx2), at_least("avx2"));
  EXPECT_EQ(has(cpu_isa::avx512_core), at_least("avx512"));
  EXPECT_EQ(has(cpu_isa::avx512_core_bf16), at_least("avx512_bf16"));
  EXPECT_EQ(has(cpu_isa::avx512_core_amx), at_least("amx"));
}

#else
TEST(Isa, HighwayFollows) {
  const int64_t targets = hwy::SupportedTargets();
  EXPECT_EQ((targets & HWY_NEON) != 0, at_least("neon"));
  EXPECT_NE(targets & (HWY_SCALAR | HWY_EMU128), 0);
}
#endif

TEST(Isa, Bf16ProductsNeedTheirLevel) {
  EXPECT_EQ(bf16_products_available(), at_least("avx512_bf16"));
}

// The first row with kernels that `kernel` accepts, from the one called `folder` down its bases.
std::string_view provider(std::string_view folder, auto KernelSet::*kernel) {
  for (size_t i = isa_levels().size(); i-- > 0;) {
    const Level& level = isa_levels()[i];
    if (level.folder != folder) continue;
    if (level.kernels.*kernel != nullptr || i == 0) return level.folder;
    folder = level.base;
  }
  return "no such row";
}

TEST(IsaTable, RowsBuildOnEarlierOnes) {
  const auto levels = isa_levels();
  EXPECT_EQ(levels.front().features, "");
  for (size_t i = 1; i < levels.size(); ++i) {
    EXPECT_FALSE(levels[i].folder.empty() || levels[i].features.empty());
    const auto same = [&](const Level& other) { return other.folder == levels[i].folder; };
    EXPECT_EQ(std::ranges::count_if(levels, same), 1) << levels[i].folder;
    const auto is_base = [&](const Level& other) { return other.folder == levels[i].base; };
    EXPECT_TRUE(std::ranges::any_of(levels.first(i), is_base))
        << levels[i].folder << " builds on no earlier row";
  }
}

TEST(IsaTable, ALevelTakesWhatItLacksFromTheNextBelow) {
#if HWY_ARCH_X86
  EXPECT_EQ(provider("amx", &KernelSet::quant_dot), "avx512_vnni");
  EXPECT_EQ(provider("avx512", &KernelSet::quant_dot), "avx2");
  EXPECT_EQ(provider("amx", &KernelSet::tile_packing), "avx512_bf16");
  EXPECT_EQ(provider("amx", &KernelSet::int8_peak), "avx512_vnni");
  EXPECT_EQ(provider("avx2_vnni", &KernelSet::f32_peak), "avx2");
#else
  EXPECT_EQ(provider("neon", &KernelSet::quant_dot), "");
  EXPECT_EQ(provider("neon_dot", &KernelSet::f32_peak), "neon");
#endif
  const KernelSet& active = active_kernels();
  for (const Level& level : isa_levels()) {
    if (level.name != active_isa()) continue;
    EXPECT_TRUE(level.kernels.f32_peak == nullptr || active.f32_peak == level.kernels.f32_peak);
  }
  EXPECT_NE(active.quant_dot, nullptr);
  EXPECT_NE(active.f32_peak, nullptr);
  EXPECT_EQ(active.tile_packing != nullptr, active.tile_product != nullptr);

  KernelSet own;
  own.quant_dot = active.quant_dot;
  EXPECT_EQ(with_fallback(own, {}).quant_dot, active.quant_dot);
  EXPECT_EQ(with_fallback({}, own).quant_dot, active.quant_dot);
  EXPECT_EQ(with_fallback({}, own).f32_peak, nullptr);
  EXPECT_EQ(with_fallback(active, own).f32_peak, active.f32_peak);
}

TEST(IsaTable, FeaturesOfLowerLevelsAreThereAndUnknownOnesAreNot) {
  EXPECT_FALSE(machine_has_feature("avx1024"));
  EXPECT_TRUE(!at_least("avx2") || machine_has_feature("f16c"));
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
