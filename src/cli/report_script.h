// script/report, the Python program that draws what was measured, as a step after the measurement.
#pragma once

#include <filesystem>
#include <optional>
#include <string>

#include "base/cancel.h"

namespace chunkllm::cli {

// Lets script/report draw the page and the pictures of a folder of eval, and returns the page;
// nothing where the script, Python or matplotlib is missing, or it fails: a measurement that is
// done does not fail for its picture. The script is that of the source tree or of share/chunkllm.
// Throws Error (kInterrupted) when cancelled.
std::optional<std::filesystem::path> draw_report(const std::filesystem::path& folder,
                                                 const CancelToken& cancel);

// The command that draws it, for a shell.
std::string report_command(const std::filesystem::path& folder);

}  // namespace chunkllm::cli
