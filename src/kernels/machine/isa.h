// The instruction set that kernels use: the best of the machine, or the cap that the user sets.
#pragma once

#include <string_view>
#include <vector>

namespace chunkllm {

// Ascending: each level includes those before it.
enum class Isa { kScalar, kAvx2, kAvx512, kAvx512Bf16, kAmx };

// "scalar", "avx2", "avx512", "avx512_bf16", "amx".
std::string_view isa_name(Isa isa);

// The levels this machine has, ascending; kScalar is always there.
std::vector<Isa> machine_isas();

// The level in use: the machine's best, capped by CHUNKLLM_ISA. Throws Error (kInvalidArgument) if
// the variable names no level or one that the machine lacks. The first call fixes the level for the
// process and caps Highway's targets and oneDNN's instruction set with it; call it before any other
// kernel.
Isa active_isa();

// Whether the processor has AVX-512 VNNI (int8 dot products), which no level implies: the first
// processors of kAvx512 lack it.
bool machine_has_vnni();

}  // namespace chunkllm
