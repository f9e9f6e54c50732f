// Where the files lie that come with the program, and those of its user.
#pragma once

#include <filesystem>

namespace chunkllm {

// PREFIX/share/chunkllm of a program PREFIX/bin/chunkllm, there or not; empty where the system does
// not say where the program lies.
std::filesystem::path shared_folder();

// The source tree that the program was built from, if the program lies in it; else empty.
std::filesystem::path source_tree();

// The user's folders for what programs share, and for what they can make again: $XDG_DATA_HOME and
// $XDG_CACHE_HOME, or else ~/.local/share and ~/.cache (XDG base directory specification: a path
// that is not absolute is none). There or not; empty without a home.
std::filesystem::path user_data_folder();
std::filesystem::path user_cache_folder();

}  // namespace chunkllm
