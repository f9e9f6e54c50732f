// What the fuzz targets share: an input as files of a folder, and what counts as a fine answer.
#pragma once

#include <array>
#include <cstdint>
#include <string_view>

#include "base/error.h"
#include "testing/temp_folder.h"

namespace chunkllm::fuzz {

inline std::string_view as_text(const uint8_t* data, size_t size) {
  return {reinterpret_cast<const char*>(data), size};
}

// One folder a process; its files are written anew for every input.
inline const TempFolder& folder() {
  static const TempFolder folder;
  return folder;
}

// The part of the input before the first line "%%", and what follows that line (all and nothing
// without one): for readers of two files.
inline std::array<std::string_view, 2> split_files(std::string_view input) {
  constexpr std::string_view kSeparator = "\n%%\n";
  const size_t at = input.find(kSeparator);
  if (at == std::string_view::npos) return {input, {}};
  return {input.substr(0, at), input.substr(at + kSeparator.size())};
}

// Runs `read`: it may succeed or throw an Error of one line; anything else ends the process and
// thereby the fuzzing.
template <typename Read>
void expect_answer(const Read& read) {
  try {
    read();
  } catch (const Error& error) {
    const std::string_view message = error.what();
    if (message.empty() || message.find('\n') != std::string_view::npos) __builtin_trap();
  }
}

}  // namespace chunkllm::fuzz
