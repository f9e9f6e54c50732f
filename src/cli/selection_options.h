// The options of selection, which commands and bench/trial share.
#pragma once

#include <CLI/CLI.hpp>
#include <span>
#include <vector>

#include "select/settings.h"

namespace chunkllm::cli {

// The options of setting_entries().
struct SelectionArgs {
  SelectionSettings settings;
  std::vector<Setting> given;
};

// Adds them but for those in `except`; `args` must outlive the parsing.
void add_selection_options(CLI::App& app, SelectionArgs& args,
                           std::span<const Setting> except = {});

}  // namespace chunkllm::cli
