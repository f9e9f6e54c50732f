// Adapters that belong to a model, found by its fingerprint where nobody names them.
#pragma once

#include <filesystem>
#include <functional>
#include <span>
#include <string>
#include <vector>

#include "engine/engine.h"

namespace chunkllm {

// Where adapters are looked for, in this order: the folders of $CHUNKLLM_ADAPTERS, separated by
// colons; chunkllm/adapters in $XDG_DATA_HOME (~/.local/share); share/chunkllm/adapters beside the
// folder of the executable; models/ of the source tree if the executable lies in that tree. None
// if $CHUNKLLM_ADAPTERS is set and empty. The folders need not exist.
std::vector<std::filesystem::path> adapter_folders();

// Gives the engine the first adapter of that kind that fits its model, among `folders` and the
// folders in them, those by name, and returns its folder; empty if there is none. Of others nothing
// is read but adapter_config.json. `on_skipped` hears of each that fits or may fit and cannot be
// used, with the reason. Throws Error if the model's norms cannot be read.
std::filesystem::path find_adapter(Engine& engine, AdapterKind kind,
                                   std::span<const std::filesystem::path> folders,
                                   const std::function<void(const std::string&)>& on_skipped);

}  // namespace chunkllm
