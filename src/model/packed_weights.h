// Copies of packed weights in files, which are mapped instead of packing a model anew.
#pragma once

#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>
#include <vector>

#include "formats/safetensors.h"
#include "kernels/linear/packed_matrices.h"

namespace chunkllm {

// Where copies are kept.
struct PackedFolder {
  std::filesystem::path path;              // made when it is needed; empty: none are kept
  int64_t least_bytes = int64_t{1} << 28;  // of a model's packed weights: less is packed in no time
  int64_t most_bytes = int64_t{1} << 34;   // of all copies: those used longest ago go first
};

// The copy of one model file: of its quantised matrices, as safetensors, with a checksum. It is
// used while that file is unchanged. One thread at a time.
class PackedWeights : public PackedMatrices {
 public:
  // Opens the copy of `model` if there is one and it is whole. A copy that cannot be used, whatever
  // its state, counts as none.
  PackedWeights(const PackedFolder& folder, const std::filesystem::path& model);

  const uint8_t* find(const QuantPanels& layout) override;
  void packed(const QuantPanels& panels) override;

  // After a load that found not all in the copy: writes one, atomically, and makes room for it.
  // False if there is nothing to write. Throws Error (kIo) where it cannot be written; (kMemory)
  // where the disk would be nearly full.
  bool save();

  const std::filesystem::path& path() const { return path_; }
  // Of the matrices that were handed over.
  int64_t size_bytes() const { return size_bytes_; }

 private:
  struct Matrix {
    std::string name;
    QuantPanels panels;
  };

  PackedFolder folder_;
  std::filesystem::path path_;
  std::string key_;  // of the model's file as it is now
  std::optional<SafetensorsFile> file_;
  std::vector<Matrix> matrices_;
  int64_t size_bytes_ = 0;
  bool is_new_ = false;  // some of the matrices had to be packed
};

}  // namespace chunkllm
