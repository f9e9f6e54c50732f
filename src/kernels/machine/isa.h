// The instruction set that kernels use: the best of the machine, or the cap that the user sets.
#pragma once

#include <string_view>
#include <vector>

namespace chunkllm {

// The names of CHUNKLLM_ISA that this build knows, ascending, "scalar" first.
std::vector<std::string_view> isa_names();

// Those of them that this machine has, ascending.
std::vector<std::string_view> machine_isas();

// The level in use: the machine's best, capped by CHUNKLLM_ISA. Throws Error (kInvalidArgument) if
// the variable names no level or one that the machine lacks. The first call fixes the level for the
// process and caps Highway's targets and oneDNN's instruction set with it; call it before any other
// kernel.
std::string_view active_isa();

}  // namespace chunkllm
