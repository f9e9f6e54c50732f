// The state of an unfinished training: one file, so that it is whole or absent.
#pragma once

#include <cstdint>
#include <filesystem>
#include <nlohmann/json.hpp>
#include <string>

#include "select/chunk/adapter.h"

namespace chunkllm {

// What a checkpoint holds besides the parts that are fitted. Lessons lie in files of their own; a
// fit that was cut short begins anew, from its own seed.
struct CheckpointState {
  int64_t n_stages = 0;   // fits done, in the order of the run
  int64_t n_steps = 0;    // of their optimisers
  int64_t n_lessons = 0;  // that they learned from; 0 before the first fit
  int64_t n_tokens = 0;   // of those lessons
  double seconds = 0;     // spent so far
  std::string settings;   // all that must be the same when the run goes on, as JSON
  // What the fits reported, as the run ends with it.
  nlohmann::ordered_json report = nlohmann::ordered_json::object();
};

// FOLDER/checkpoint.safetensors.
std::filesystem::path checkpoint_path(const std::filesystem::path& folder);

// Writes state and adapter in float32, with a checksum, atomically. Throws Error (kIo).
void save_checkpoint(const std::filesystem::path& folder, const CheckpointState& state,
                     const Adapter& adapter);

// Reads them back; the adapter's arrays must have their sizes. Throws Error: kIo, kData for a file
// that cannot be trusted or that was made with other settings (`expected_settings`), saying which
// settings differ.
CheckpointState load_checkpoint(const std::filesystem::path& folder,
                                const std::string& expected_settings, Adapter& adapter);

}  // namespace chunkllm
