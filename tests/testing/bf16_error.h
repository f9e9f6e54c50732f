// What bfloat16 may cost in a golden model: what the reference's own bfloat16 run loses, as stored,
// or an estimate of it by noise.
#pragma once

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <optional>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "base/json.h"
#include "base/mapped_file.h"
#include "base/random.h"
#include "base/sha256.h"
#include "formats/safetensors.h"
#include "formats/safetensors_model.h"

namespace chunkllm {

// Relative errors (relative_error.h) of the values of a golden file of these names.
struct GoldenErrors {
  double hidden_1 = 0;
  double logits = 0;
  double chunk_attention = 0;
};

// What `folder` (golden.safetensors, `bf16_error`) or else `table` (tools/bf16_errors.py) says;
// none if the table knows no such model or one of the same name with other values.
inline std::optional<GoldenErrors> stored_bf16_error(const std::filesystem::path& folder,
                                                     const std::filesystem::path& table) {
  const std::filesystem::path golden = folder / "golden.safetensors";
  const SafetensorsFile file(golden);
  if (file.find("bf16_error") != nullptr) {
    const std::vector<float> errors = file.require_floats("bf16_error", {3});
    return GoldenErrors{errors[0], errors[1], errors[2]};
  }
  const nlohmann::json rows = read_json_file(table);
  const auto row = rows.find(folder.filename().string());
  if (row == rows.end()) return std::nullopt;
  Sha256 digest;
  digest.update(std::as_bytes(MappedFile(golden).bytes()));
  if (row->at("golden_sha256") != digest.hex_digest()) return std::nullopt;
  return GoldenErrors{row->at("hidden_1"), row->at("logits"), row->at("chunk_attention")};
}

// Writes `model`, a Hugging Face folder, to the folder `out` with float32 weights, each element of
// a matrix multiplied by 1 + d, d uniform in [-amplitude, amplitude).
inline void write_noisy_model(const std::filesystem::path& model, double amplitude,
                              const std::filesystem::path& out) {
  const SafetensorsModel source(model);
  std::vector<std::pair<std::string, std::vector<float>>> values;
  std::vector<TensorToWrite> tensors;
  Rng rng(1);
  for (const auto& [name, tensor] : source.tensors()) {
    values.emplace_back(name, source.require_floats(name, tensor.shape));
    if (tensor.shape.size() < 2) continue;
    for (float& value : values.back().second) {
      value *= static_cast<float>(1 + amplitude * (2 * rng.uniform() - 1));
    }
  }
  for (const auto& [name, floats] : values) {
    tensors.push_back({.name = name,
                       .dtype = DType::kF32,
                       .shape = source.find(name)->shape,
                       .bytes = std::as_bytes(std::span(floats))});
  }
  std::filesystem::create_directories(out);
  std::filesystem::copy_file(model / "config.json", out / "config.json",
                             std::filesystem::copy_options::overwrite_existing);
  write_safetensors(out / "model.safetensors", std::move(tensors));
}

}  // namespace chunkllm
