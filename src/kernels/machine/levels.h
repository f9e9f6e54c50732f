// The table of instruction sets, one for each processor architecture (levels_x86.cc,
// levels_arm.cc).
#pragma once

#include <cstdint>
#include <oneapi/dnnl/dnnl.hpp>
#include <span>
#include <string_view>

#include "kernels/machine/kernel_set.h"

namespace chunkllm {

// A row: one instruction set and the kernels that are written for it. Rows of one name are one
// level of CHUNKLLM_ISA, the later of them for machines that have more of it.
//
// cmake/isa_levels.cmake reads name, folder, base and features from the source of the table: files
// in kernels/*/FOLDER/ are compiled for the features of the row and its bases and are in the
// namespace chunkllm::FOLDER, and the tests of kernels run once a name.
struct Level {
  std::string_view name;
  std::string_view folder;      // empty: none, the compiler's own instruction set
  std::string_view base;        // the folder of an earlier row, which this one builds on
  std::string_view features;    // what it needs beside, by the names of the compiler's -m options
  int64_t highway_targets = 0;  // that it adds
  dnnl::cpu_isa onednn = dnnl::cpu_isa::all;
  KernelSet kernels;
};

// Ascending; the first row needs nothing and has no base.
std::span<const Level> isa_levels();

// Whether processor and system have a feature that some row names. May ask the system for it.
bool machine_has_feature(std::string_view feature);

}  // namespace chunkllm
