// The instruction sets of 64-bit ARM. A new one is a row here and files in kernels/*/FOLDER/.
#include <asm/hwcap.h>
#include <hwy/highway.h>
#include <sys/auxv.h>

#include <algorithm>
#include <cstdint>

#include "kernels/machine/levels.h"

namespace chunkllm {

// The kernels that stand in each folder; those for any machine stand beside them.
namespace portable {
const QuantDot* quant_dot_kernels();
ProductPeak f32_peak();
}  // namespace portable
namespace neon {
ProductPeak f32_peak();
}  // namespace neon
namespace neon_dot {
const QuantDot* quant_dot_kernels();
ProductPeak int8_peak();
}  // namespace neon_dot

namespace {

constexpr Level kLevels[] = {
    {.name = "scalar",
     .folder = "",
     .base = "",
     .features = "",
     .highway_targets = HWY_EMU128 | HWY_SCALAR,
     .kernels = {.quant_dot = portable::quant_dot_kernels, .f32_peak = portable::f32_peak}},
    {.name = "neon",
     .folder = "neon",
     .base = "",
     .features = "arch=armv8-a+aes",  // as Highway compiles for it
     .highway_targets = HWY_NEON,
     .kernels = {.f32_peak = neon::f32_peak}},
    {.name = "neon_dot",
     .folder = "neon_dot",
     .base = "neon",
     .features = "arch=armv8.2-a+dotprod+aes",
     .kernels = {.quant_dot = neon_dot::quant_dot_kernels, .int8_peak = neon_dot::int8_peak}},
};

// What the system says of a processor (Linux, "ARM64 ELF hwcaps").
struct Feature {
  std::string_view name;
  uint64_t hwcaps = 0;
};
constexpr Feature kFeatures[] = {
    {"arch=armv8-a+aes", HWCAP_ASIMD | HWCAP_AES},
    {"arch=armv8.2-a+dotprod+aes", HWCAP_ASIMD | HWCAP_AES | HWCAP_ASIMDDP},
};

}  // namespace

std::span<const Level> isa_levels() { return kLevels; }

bool machine_has_feature(std::string_view feature) {
  const auto* found = std::ranges::find(kFeatures, feature, &Feature::name);
  return found != std::end(kFeatures) && (::getauxval(AT_HWCAP) & found->hwcaps) == found->hwcaps;
}

}  // namespace chunkllm
