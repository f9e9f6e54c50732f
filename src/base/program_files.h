// Where the files lie that come with the program.
#pragma once

#include <filesystem>

namespace chunkllm {

// PREFIX/share/chunkllm of a program PREFIX/bin/chunkllm, there or not; empty where the system does
// not say where the program lies.
std::filesystem::path shared_folder();

// The source tree that the program was built from, if the program lies in it; else empty.
std::filesystem::path source_tree();

}  // namespace chunkllm
