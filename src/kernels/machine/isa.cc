#include "kernels/machine/isa.h"

#include <cpuid.h>
#include <hwy/highway.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cstdlib>
#include <oneapi/dnnl/dnnl.hpp>
#include <string>

#include "base/error.h"

namespace chunkllm {
namespace {

struct Level {
  Isa isa;
  std::string_view name;
  dnnl::cpu_isa onednn;
  int64_t highway_targets;  // best target of the level and all below it
};

constexpr int64_t kScalarTargets = HWY_EMU128 | HWY_SCALAR;
constexpr int64_t kAvx2Targets = kScalarTargets | HWY_SSSE3 | HWY_SSE4 | HWY_AVX2;
constexpr int64_t kAvx512Targets = kAvx2Targets | HWY_AVX3 | HWY_AVX3_DL;

constexpr std::array<Level, 5> kLevels{{
    {Isa::kScalar, "scalar", dnnl::cpu_isa::sse41, kScalarTargets},
    {Isa::kAvx2, "avx2", dnnl::cpu_isa::avx2, kAvx2Targets},
    {Isa::kAvx512, "avx512", dnnl::cpu_isa::avx512_core_vnni, kAvx512Targets},
    {Isa::kAvx512Bf16, "avx512_bf16", dnnl::cpu_isa::avx512_core_bf16, kAvx512Targets},
    {Isa::kAmx, "amx", dnnl::cpu_isa::avx512_core_amx, kAvx512Targets},
}};

// Linux gives the tile registers only to a process that asks for them.
bool amx_permitted() {
  constexpr long kArchReqXcompPerm = 0x1023;
  constexpr long kTileData = 18;
  return ::syscall(SYS_arch_prctl, kArchReqXcompPerm, kTileData) == 0;
}

// Clang 14 does not know this name.
bool has_f16c() {
  unsigned int a = 0;
  unsigned int b = 0;
  unsigned int c = 0;
  unsigned int d = 0;
  return __get_cpuid(1, &a, &b, &c, &d) != 0 && (c & bit_F16C) != 0;
}

bool machine_has(Isa isa) {
  switch (isa) {
    case Isa::kScalar:
      return true;
    case Isa::kAvx2:
      return __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma") &&
             __builtin_cpu_supports("bmi2") && has_f16c();
    case Isa::kAvx512:
      return machine_has(Isa::kAvx2) && __builtin_cpu_supports("avx512f") &&
             __builtin_cpu_supports("avx512bw") && __builtin_cpu_supports("avx512dq") &&
             __builtin_cpu_supports("avx512vl");
    case Isa::kAvx512Bf16:
      return machine_has(Isa::kAvx512) && __builtin_cpu_supports("avx512bf16");
    case Isa::kAmx: {
      unsigned int a = 0;
      unsigned int b = 0;
      unsigned int c = 0;
      unsigned int d = 0;
      constexpr unsigned int kAmxBf16 = 1u << 22;
      constexpr unsigned int kAmxTile = 1u << 24;
      return machine_has(Isa::kAvx512Bf16) && __get_cpuid_count(7, 0, &a, &b, &c, &d) &&
             (d & kAmxBf16) && (d & kAmxTile) && amx_permitted();
    }
  }
  return false;
}

const Level& level_of(Isa isa) { return kLevels[static_cast<size_t>(isa)]; }

Isa choose() {
  const std::vector<Isa> machine = machine_isas();
  const char* asked = std::getenv("CHUNKLLM_ISA");
  Isa chosen = machine.back();
  if (asked != nullptr && *asked != '\0') {
    const auto* level = std::ranges::find(kLevels, std::string_view(asked), &Level::name);
    if (level == kLevels.end()) {
      fail(ErrorCode::kInvalidArgument,
           "CHUNKLLM_ISA={} is not a level; use scalar, avx2, avx512, avx512_bf16 or amx", asked);
    }
    if (level->isa > machine.back()) {
      fail(ErrorCode::kInvalidArgument,
           "CHUNKLLM_ISA={} is more than this machine has; its best level is {}", asked,
           isa_name(machine.back()));
    }
    chosen = level->isa;
  }
  if (dnnl::set_max_cpu_isa(level_of(chosen).onednn) != dnnl::status::success) {
    fail(
        ErrorCode::kUnsupported,
        "oneDNN cannot be capped at {}: it was used before the level was chosen; call active_isa() "
        "first",
        isa_name(chosen));
  }
  hwy::DisableTargets(~level_of(chosen).highway_targets);
  return chosen;
}

}  // namespace

std::string_view isa_name(Isa isa) { return level_of(isa).name; }

std::vector<Isa> machine_isas() {
  std::vector<Isa> isas;
  for (const Level& level : kLevels) {
    if (machine_has(level.isa)) isas.push_back(level.isa);
  }
  return isas;
}

bool machine_has_vnni() { return __builtin_cpu_supports("avx512vnni"); }

Isa active_isa() {
  static const Isa active = choose();
  return active;
}

}  // namespace chunkllm
