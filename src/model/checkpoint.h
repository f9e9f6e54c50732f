// The tensors of a backbone under the names that Hugging Face gives them, whether they lie in a
// folder of safetensors, alone or inside a larger model, or in a GGUF file.
#pragma once

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

#include "formats/gguf.h"
#include "formats/safetensors_model.h"
#include "model/config.h"

namespace chunkllm {

// A matrix of a checkpoint. `view` points into the mapped file or, where the file has the rows in
// another order, into `rows`.
struct CheckpointMatrix {
  MatrixView view;
  std::vector<std::byte> rows;
};

// Owns the mapped files. Immutable; any thread may read it. Moving it keeps views valid.
class Checkpoint {
 public:
  // Opens `model`, a Hugging Face folder or a GGUF file, whose configuration is `config`. Throws
  // Error as SafetensorsModel and GgufFile do; kUnsupported for a tensor of a GGUF file that the
  // engine does not know.
  Checkpoint(const std::filesystem::path& model, const ModelConfig& config);

  // By Hugging Face's names, whatever the file calls them: those of a saved base model lack their
  // "model.", and tied embeddings may be stored as the head alone. Views keep the file's names.
  // Rows of a GGUF file's queries and keys may be in its own order.
  const TensorMap& tensors() const { return tensors_; }
  // The head has weights of its own, which count whatever the configuration says of tying.
  bool has_head() const { return has("lm_head.weight"); }
  // SHA-256 over names, types, shapes and bytes of all tensors, of large ones 64 parts of 4 KiB
  // from begin to end: tells fine-tuned checkpoints apart without reading them whole.
  std::string sample_digest() const;
  bool has(std::string_view name) const { return tensors_.contains(name); }

  // Throw Error (kData) naming the file if the tensor is missing or has another shape;
  // kUnsupported for a matrix of integers. vector() checks that all values are finite, and gives
  // norms as they are applied. check_matrix() is matrix() without reading it.
  void check_matrix(std::string_view name, int64_t n_rows, int64_t n_cols) const;
  CheckpointMatrix matrix(std::string_view name, int64_t n_rows, int64_t n_cols) const;
  std::vector<float> vector(std::string_view name, int64_t n) const;

  // Gives the memory of a tensor's whole pages back; they are read from the file again when used.
  void release(std::string_view name) const;
  // The file that holds the tensor, for messages; the model if there is none.
  std::string place(std::string_view name) const;

 private:
  // How the file calls the tensor.
  std::string own_name(std::string_view name) const;
  bool is_interleaved(std::string_view name) const;
  const TensorView& require(std::string_view name, const std::vector<int64_t>& shape) const;
  const TensorView& require_matrix(std::string_view name, int64_t n_rows, int64_t n_cols) const;

  std::filesystem::path path_;
  std::variant<SafetensorsModel, GgufFile> source_;
  const Architecture* family_;
  int64_t head_dim_;
  TensorMap tensors_;
};

}  // namespace chunkllm
