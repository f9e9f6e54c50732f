#include "train/checkpoint.h"

#include <algorithm>

#include "base/error.h"
#include "base/json.h"
#include "formats/safetensors.h"

namespace chunkllm {
namespace {

constexpr const char* kStateKey = "chunkllm_checkpoint";

// Every array of the run: the parameters and the optimisers' moments, under distinct names.
std::vector<OptimizerArray> all_arrays(const TrainedState& trained) {
  std::vector<OptimizerArray> arrays;
  for (const TrainedParameter& parameter : trained.parameters) {
    arrays.push_back({"parameter." + parameter.name, parameter.values});
  }
  for (AdamW* optimizer : trained.optimizers) {
    for (OptimizerArray& array : optimizer->state()) arrays.push_back(std::move(array));
  }
  return arrays;
}

void check_settings(const std::string& where, const std::string& saved,
                    const std::string& expected) {
  if (saved == expected) return;
  const nlohmann::json saved_json = parse_json(saved, where);
  const nlohmann::json expected_json = parse_json(expected, "the settings of this run");
  for (const auto& [name, value] : expected_json.items()) {
    const nlohmann::json before =
        saved_json.is_object() ? saved_json.value(name, nlohmann::json()) : nullptr;
    if (before != value) {
      fail(ErrorCode::kData,
           "{}: the run was started with {} = {}, not {}; resume it with the same", where, name,
           before.dump(), value.dump());
    }
  }
  fail(ErrorCode::kData, "{}: the run was started with other settings; resume it with the same",
       where);
}

}  // namespace

std::filesystem::path checkpoint_path(const std::filesystem::path& folder) {
  return folder / "checkpoint.safetensors";
}

void save_checkpoint(const std::filesystem::path& folder, const CheckpointState& state,
                     const TrainedState& trained) {
  std::vector<TensorToWrite> tensors;
  for (const OptimizerArray& array : all_arrays(trained)) {
    tensors.push_back({array.name,
                       DType::kF32,
                       {static_cast<int64_t>(array.values.size())},
                       std::as_bytes(array.values)});
  }
  nlohmann::ordered_json json;
  json["step"] = state.step;
  json["n_tokens"] = state.n_tokens;
  json["seconds"] = state.seconds;
  json["settings"] = state.settings;
  write_safetensors(checkpoint_path(folder), std::move(tensors), {{kStateKey, json.dump()}});
}

CheckpointState load_checkpoint(const std::filesystem::path& folder,
                                const std::string& expected_settings, const TrainedState& trained) {
  const std::filesystem::path path = checkpoint_path(folder);
  const SafetensorsFile file(path);
  const auto found = file.metadata().find(kStateKey);
  if (found == file.metadata().end()) {
    fail(ErrorCode::kData, "{} is no checkpoint of a training; start without --resume",
         path.string());
  }
  const nlohmann::json json = parse_json(found->second, path.string());
  const JsonFields fields(json, path.string());
  CheckpointState state;
  state.step = fields.integer("step", 0, int64_t{1} << 40);
  state.n_tokens = fields.integer("n_tokens", 0, int64_t{1} << 60);
  state.seconds = fields.number("seconds", 0.0, 1e12);
  state.settings = fields.string("settings");
  check_settings(path.string(), state.settings, expected_settings);
  for (const OptimizerArray& array : all_arrays(trained)) {
    const std::vector<float> values =
        file.require_floats(array.name, {static_cast<int64_t>(array.values.size())});
    std::ranges::copy(values, array.values.begin());
  }
  for (AdamW* optimizer : trained.optimizers) optimizer->set_n_steps(state.step);
  return state;
}

}  // namespace chunkllm
