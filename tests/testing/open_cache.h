// Prompt caches taken apart.
#pragma once

#include <fmt/core.h>

#include <cstdint>
#include <filesystem>
#include <map>
#include <nlohmann/json.hpp>
#include <span>
#include <string>
#include <vector>

#include "base/sha256.h"
#include "formats/safetensors.h"

namespace chunkllm {

// A cache taken apart, to be written again with something wrong and a checksum that is right: the
// one that docs/formats.md describes.
struct OpenCache {
  struct Tensor {
    DType dtype;
    std::vector<int64_t> shape;
    std::vector<uint8_t> bytes;
  };
  nlohmann::ordered_json state;
  std::map<std::string, Tensor> tensors;

  explicit OpenCache(const std::filesystem::path& path) {
    const SafetensorsFile file(path);
    const std::string outer = file.metadata().at("chunkllm_prompt_cache");
    state =
        nlohmann::ordered_json::parse(nlohmann::json::parse(outer).at("state").get<std::string>());
    for (const auto& [name, view] : file.tensors()) {
      tensors[name] = {view.dtype, view.shape, {view.bytes.begin(), view.bytes.end()}};
    }
  }

  void write(const std::filesystem::path& path) const { write(path, state.dump()); }
  // The same with any text in place of the state's.
  void write(const std::filesystem::path& path, const std::string& text) const {
    Sha256 hash;
    hash.update(std::as_bytes(std::span(text)));
    std::vector<TensorToWrite> list;
    for (const auto& [name, tensor] : tensors) {
      const std::string head = fmt::format("\n{} {}\n", name, tensor.bytes.size());
      hash.update(std::as_bytes(std::span(head)));
      hash.update(std::as_bytes(std::span(tensor.bytes)));
      list.push_back({name, tensor.dtype, tensor.shape, std::as_bytes(std::span(tensor.bytes))});
    }
    const nlohmann::ordered_json outer{{"state", text}, {"sha256", hash.hex_digest()}};
    write_safetensors(path, std::move(list),
                      {{"chunkllm_prompt_cache",
                        outer.dump(-1, ' ', false, nlohmann::json::error_handler_t::replace)}});
  }
};

}  // namespace chunkllm
