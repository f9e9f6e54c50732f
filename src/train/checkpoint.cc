#include "train/checkpoint.h"

#include <algorithm>

#include "base/error.h"
#include "base/json.h"
#include "formats/checksum.h"
#include "formats/safetensors.h"
#include "train/lesson_file.h"

namespace chunkllm {
namespace {

constexpr const char* kStateKey = "chunkllm_checkpoint";
// Checkpoints made by earlier programs have none and are read without.
constexpr const char* kChecksumKey = "chunkllm_checkpoint_sha256";
constexpr const char* kDamaged = "this checkpoint is damaged; remove it and train anew";

struct NamedArray {
  std::string name;
  std::span<float> values;
};

std::vector<NamedArray> arrays_of(Adapter& adapter) {
  std::vector<NamedArray> arrays{{"chunk_adapter.weight", adapter.boundary_weight},
                                 {"chunk_adapter.bias", {&adapter.boundary_bias, 1}}};
  for (size_t i = 0; i < adapter.layers.size(); ++i) {
    if (adapter.layers[i].q.empty()) continue;
    const std::string at = "layers." + std::to_string(i);
    arrays.push_back({at + ".q_adapter.weight", adapter.layers[i].q});
    arrays.push_back({at + ".k_adapter.weight", adapter.layers[i].k});
  }
  return arrays;
}

}  // namespace

std::filesystem::path checkpoint_path(const std::filesystem::path& folder) {
  return folder / "checkpoint.safetensors";
}

void save_checkpoint(const std::filesystem::path& folder, const CheckpointState& state,
                     const Adapter& adapter) {
  Adapter copy = adapter;
  std::vector<TensorToWrite> tensors;
  for (const NamedArray& array : arrays_of(copy)) {
    tensors.push_back({array.name,
                       DType::kF32,
                       {static_cast<int64_t>(array.values.size())},
                       std::as_bytes(array.values)});
  }
  nlohmann::ordered_json json;
  json["stages"] = state.n_stages;
  json["steps"] = state.n_steps;
  json["lessons"] = state.n_lessons;
  json["tokens"] = state.n_tokens;
  json["seconds"] = state.seconds;
  json["settings"] = state.settings;
  json["report"] = state.report.dump();
  const std::string text = json.dump();
  const std::string checksum = tensor_checksum(text, tensors);
  write_safetensors(checkpoint_path(folder), std::move(tensors),
                    {{kStateKey, text}, {kChecksumKey, checksum}});
}

CheckpointState load_checkpoint(const std::filesystem::path& folder,
                                const std::string& expected_settings, Adapter& adapter) {
  const std::filesystem::path path = checkpoint_path(folder);
  const SafetensorsFile file(path, kDamaged);
  const auto found = file.metadata().find(kStateKey);
  if (found == file.metadata().end()) {
    fail(ErrorCode::kData, "{} is no checkpoint of a training; start without --resume",
         path.string());
  }
  const auto checksum = file.metadata().find(kChecksumKey);
  if (checksum != file.metadata().end() &&
      checksum->second != tensor_checksum(found->second, file)) {
    fail(ErrorCode::kData, "{}: the checksum is not that of the content; {}", path.string(),
         kDamaged);
  }
  const nlohmann::json json = parse_json(found->second, path.string(), kDamaged);
  const JsonFields fields(json, path.string());
  CheckpointState state;
  state.n_stages = fields.integer("stages", 0, int64_t{1} << 20);
  state.n_steps = fields.integer("steps", 0, int64_t{1} << 40);
  state.n_lessons = fields.integer("lessons", 0, int64_t{1} << 40);
  state.n_tokens = fields.integer("tokens", 0, int64_t{1} << 60);
  state.seconds = fields.number("seconds", 0.0, 1e12);
  state.settings = fields.string("settings");
  parse_json(fields.string("report"), path.string() + ", report", kDamaged);
  state.report = nlohmann::ordered_json::parse(fields.string("report"));
  check_same_settings(path.string(), state.settings, expected_settings, "resume it with the same");
  for (const NamedArray& array : arrays_of(adapter)) {
    const std::vector<float> values =
        file.require_floats(array.name, {static_cast<int64_t>(array.values.size())});
    std::ranges::copy(values, array.values.begin());
  }
  return state;
}

}  // namespace chunkllm
