// The instruction sets of x86-64. A new one is a row here and files in kernels/*/FOLDER/.
#include <cpuid.h>
#include <hwy/highway.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>
#include <cstdint>

#include "kernels/machine/levels.h"

namespace chunkllm {

// The kernels that stand in each folder; those for any machine stand beside them.
namespace portable {
const QuantDot* quant_dot_kernels();
ProductPeak f32_peak();
}  // namespace portable
namespace avx2 {
const QuantDot* quant_dot_kernels();
ProductPeak f32_peak();
ProductPeak int8_peak();
}  // namespace avx2
namespace avx2_vnni {
const QuantDot* quant_dot_kernels();
ProductPeak int8_peak();
}  // namespace avx2_vnni
namespace avx512 {
ProductPeak f32_peak();
}  // namespace avx512
namespace avx512_vnni {
const QuantDot* quant_dot_kernels();
ProductPeak int8_peak();
}  // namespace avx512_vnni
namespace avx512_bf16 {
TilePacking tile_packing();
TileKernels tile_kernels();
AttentionTileKernel attention_tile_kernel();
ProductPeak bf16_peak();
}  // namespace avx512_bf16
namespace amx {
TileKernels tile_kernels();
AttentionTileKernel attention_tile_kernel();
ProductPeak bf16_peak();
}  // namespace amx

namespace {

constexpr Level kLevels[] = {
    {.name = "scalar",
     .folder = "",
     .base = "",
     .features = "",
     .highway_targets = HWY_EMU128 | HWY_SCALAR,
     .onednn = dnnl::cpu_isa::sse41,  // its lowest
     .kernels = {.quant_dot = portable::quant_dot_kernels, .f32_peak = portable::f32_peak}},
    {.name = "avx2",
     .folder = "avx2",
     .base = "",
     .features = "avx2 fma f16c bmi2",
     .highway_targets = HWY_SSSE3 | HWY_SSE4 | HWY_AVX2,
     .onednn = dnnl::cpu_isa::avx2,
     .kernels = {.quant_dot = avx2::quant_dot_kernels,
                 .f32_peak = avx2::f32_peak,
                 .int8_peak = avx2::int8_peak}},
    {.name = "avx2_vnni",
     .folder = "avx2_vnni",
     .base = "avx2",
     .features = "avxvnni",
     .onednn = dnnl::cpu_isa::avx2_vnni,
     .kernels = {.quant_dot = avx2_vnni::quant_dot_kernels, .int8_peak = avx2_vnni::int8_peak}},
    {.name = "avx512",
     .folder = "avx512",
     .base = "avx2",
     .features = "avx512f avx512bw avx512dq avx512vl",
     .highway_targets = HWY_AVX3 | HWY_AVX3_DL,
     .onednn = dnnl::cpu_isa::avx512_core,
     .kernels = {.f32_peak = avx512::f32_peak}},
    {.name = "avx512",  // the first processors of AVX-512 lack this
     .folder = "avx512_vnni",
     .base = "avx512",
     .features = "avx512vnni",
     .onednn = dnnl::cpu_isa::avx512_core_vnni,
     .kernels = {.quant_dot = avx512_vnni::quant_dot_kernels, .int8_peak = avx512_vnni::int8_peak}},
    {.name = "avx512_bf16",
     .folder = "avx512_bf16",
     .base = "avx512_vnni",
     .features = "avx512bf16",
     .onednn = dnnl::cpu_isa::avx512_core_bf16,
     .kernels = {.tile_packing = avx512_bf16::tile_packing,
                 .tile_product = avx512_bf16::tile_kernels,
                 .attention_tile = avx512_bf16::attention_tile_kernel,
                 .bf16_peak = avx512_bf16::bf16_peak}},
    {.name = "amx",
     .folder = "amx",
     .base = "avx512_bf16",
     .features = "amx-tile amx-bf16",
     .onednn = dnnl::cpu_isa::avx512_core_amx,
     .kernels = {.tile_product = amx::tile_kernels,
                 .attention_tile = amx::attention_tile_kernel,
                 .bf16_peak = amx::bf16_peak}},
};

// Where CPUID tells of a feature (Intel SDM, volume 2A, "CPUID"), and which registers the system
// must save for it (volume 1, "XCR0").
struct Feature {
  std::string_view name;
  unsigned int leaf = 0;
  unsigned int subleaf = 0;
  int word = 0;  // kEax to kEdx
  int bit = 0;
  uint64_t saved = 0;
};
constexpr int kEax = 0;
constexpr int kEbx = 1;
constexpr int kEcx = 2;
constexpr int kEdx = 3;
constexpr uint64_t kYmm = 0x6;
constexpr uint64_t kZmm = 0xe6;
constexpr uint64_t kTiles = 0x60000;

constexpr Feature kFeatures[] = {
    {"fma", 1, 0, kEcx, 12, kYmm},        {"f16c", 1, 0, kEcx, 29, kYmm},
    {"avx2", 7, 0, kEbx, 5, kYmm},        {"bmi2", 7, 0, kEbx, 8, 0},
    {"avxvnni", 7, 1, kEax, 4, kYmm},     {"avx512f", 7, 0, kEbx, 16, kZmm},
    {"avx512dq", 7, 0, kEbx, 17, kZmm},   {"avx512bw", 7, 0, kEbx, 30, kZmm},
    {"avx512vl", 7, 0, kEbx, 31, kZmm},   {"avx512vnni", 7, 0, kEcx, 11, kZmm},
    {"avx512bf16", 7, 1, kEax, 5, kZmm},  {"amx-bf16", 7, 0, kEdx, 22, kTiles},
    {"amx-tile", 7, 0, kEdx, 24, kTiles},
};

// The registers that the system saves.
uint64_t saved_registers() {
  constexpr unsigned int kOsXsave = 1u << 27;
  unsigned int a = 0;
  unsigned int b = 0;
  unsigned int c = 0;
  unsigned int d = 0;
  if (__get_cpuid(1, &a, &b, &c, &d) == 0 || (c & kOsXsave) == 0) return 0;
  uint32_t lower = 0;
  uint32_t upper = 0;
  asm volatile("xgetbv" : "=a"(lower), "=d"(upper) : "c"(0));
  return uint64_t{upper} << 32 | lower;
}

// Linux gives the tile registers only to a process that asks for them.
bool tiles_permitted() {
  constexpr long kArchReqXcompPerm = 0x1023;
  constexpr long kTileData = 18;
  return ::syscall(SYS_arch_prctl, kArchReqXcompPerm, kTileData) == 0;
}

}  // namespace

std::span<const Level> isa_levels() { return kLevels; }

bool machine_has_feature(std::string_view feature) {
  const auto* found = std::ranges::find(kFeatures, feature, &Feature::name);
  if (found == std::end(kFeatures)) return false;
  unsigned int words[4] = {};
  return __get_cpuid_count(found->leaf, found->subleaf, &words[kEax], &words[kEbx], &words[kEcx],
                           &words[kEdx]) != 0 &&
         (words[found->word] >> found->bit & 1) != 0 &&
         (saved_registers() & found->saved) == found->saved &&
         (found->saved != kTiles || tiles_permitted());
}

}  // namespace chunkllm
