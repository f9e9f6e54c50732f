// The command as it was typed.
#pragma once

#include <span>
#include <string>

namespace chunkllm::cli {

// One line that a shell takes apart into these words again.
std::string shell_words(std::span<const std::string> words);

// What main() was started with; called once, before any command runs.
void set_command_line(std::span<const std::string> words);
// As a shell takes it; empty before set_command_line().
const std::string& command_line();

}  // namespace chunkllm::cli
