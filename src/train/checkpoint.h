// The state of an unfinished training: one file, so that it is whole or absent.
#pragma once

#include <cstdint>
#include <filesystem>
#include <span>
#include <string>

#include "select/chunk/adapter.h"
#include "train/adamw.h"

namespace chunkllm {

// What a checkpoint holds besides the arrays.
struct CheckpointState {
  int64_t step = 0;      // steps done; with the seed also the position in the data
  int64_t n_tokens = 0;  // trained on so far
  double seconds = 0;    // spent so far
  std::string settings;  // all that must be the same when the run goes on, as JSON
};

// FOLDER/checkpoint.safetensors.
std::filesystem::path checkpoint_path(const std::filesystem::path& folder);

// The arrays of a run: parameters and the optimisers that train them. Views.
struct TrainedState {
  std::span<const TrainedParameter> parameters;
  std::span<AdamW* const> optimizers;
};

// Writes the arrays in float32 and the state, atomically. Throws Error (kIo).
void save_checkpoint(const std::filesystem::path& folder, const CheckpointState& state,
                     const TrainedState& trained);

// Reads them back into the same arrays. Throws Error: kIo, kData for a file that cannot be trusted
// or that was made with other settings (`expected_settings`), saying which setting differs.
CheckpointState load_checkpoint(const std::filesystem::path& folder,
                                const std::string& expected_settings, const TrainedState& trained);

}  // namespace chunkllm
