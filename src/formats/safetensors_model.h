// A model's tensors in one safetensors file or in several (shards), as Hugging Face writes them.
#pragma once

#include <cstdint>
#include <filesystem>
#include <map>
#include <string>
#include <string_view>
#include <vector>

#include "formats/safetensors.h"

namespace chunkllm {

// Owns the mapped files of a model's folder: model.safetensors, or else the files that
// model.safetensors.index.json names. Immutable; any thread may read it. Moving it keeps views
// valid.
class SafetensorsModel {
 public:
  // Throws Error: kIo if there is neither or a shard cannot be read, kData if the index or a file
  // cannot be trusted (a shard's name that is no plain file name, a tensor that its shard lacks).
  explicit SafetensorsModel(const std::filesystem::path& folder);

  const TensorMap& tensors() const { return tensors_; }

  // As the functions of SafetensorsFile.
  const TensorView* find(std::string_view name) const;
  const TensorView& require(std::string_view name, const std::vector<int64_t>& shape) const;
  std::vector<float> require_floats(std::string_view name, const std::vector<int64_t>& shape) const;

  // Gives the memory of a tensor's whole pages back; they are read from the file again when used.
  void release(const TensorView& tensor) const;
  // The file that holds the tensor, for messages; the folder if there is none.
  std::string place(std::string_view name) const;

 private:
  const SafetensorsFile& file_of(std::string_view name) const;

  std::filesystem::path folder_;
  bool has_index_ = false;
  std::vector<SafetensorsFile> files_;
  std::map<std::string, size_t, std::less<>> file_index_;  // by tensor name
  TensorMap tensors_;
};

}  // namespace chunkllm
