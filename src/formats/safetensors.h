// safetensors: an 8-byte little-endian header length, a JSON header {name: {dtype, shape,
// data_offsets}}, then the tensors' bytes. (huggingface/safetensors, README "Format".)
#pragma once

#include <cstdint>
#include <filesystem>
#include <functional>
#include <map>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/atomic_file.h"
#include "base/dtype.h"
#include "base/error.h"
#include "base/mapped_file.h"
#include "formats/tensor_view.h"

namespace chunkllm {

// A mapped safetensors file whose every header field has been checked: lengths, offsets inside the
// file without overlap or holes, sizes that agree with shape and type; at most 100 MB of header, a
// million tensors, 16 dimensions. Immutable; any thread may read it. Moving it keeps its views
// valid.
class SafetensorsFile {
 public:
  // Throws Error (kIo if unreadable; kData if the content cannot be trusted, naming field and file;
  // kUnsupported for a tensor type that is none of DType). `advice` ends what is said of content
  // that cannot be trusted.
  explicit SafetensorsFile(const std::filesystem::path& path,
                           std::string_view advice = kGetFileAgain);

  const std::filesystem::path& path() const { return path_; }
  const TensorMap& tensors() const { return tensors_; }
  const std::map<std::string, std::string>& metadata() const { return metadata_; }

  // Null if there is no such tensor.
  const TensorView* find(std::string_view name) const;
  // Throws Error (kData) naming the file if the tensor is missing or its shape is another one;
  // the constructor's advice, if it was given one, ends the message.
  const TensorView& require(std::string_view name, const std::vector<int64_t>& shape) const;
  // Gives the memory of a tensor's whole pages back; they are read from the file again when used.
  void release(const TensorView& tensor) const { file_.release(tensor.bytes); }
  // The tensor as float32, its shape checked. Throws as require() does; also if it holds integers,
  // or a value that is NaN or infinite.
  std::vector<float> require_floats(std::string_view name, const std::vector<int64_t>& shape) const;

 private:
  std::filesystem::path path_;
  std::string advice_;
  MappedFile file_;
  TensorMap tensors_;
  std::map<std::string, std::string> metadata_;
};

// A tensor to be written; its bytes must be the elements of `shape`.
struct TensorToWrite {
  std::string name;
  DType dtype = DType::kF32;
  std::vector<int64_t> shape;
  std::span<const std::byte> bytes;
  // Instead of `bytes`, for what need not be at hand at once: called when they are wanted, each
  // time anew; what it returns holds until the next tensor is asked for.
  std::function<std::span<const std::byte>()> read = {};

  std::span<const std::byte> bytes_now() const { return read ? read() : bytes; }
};

// Writes the tensors as one atomic file: wider types first, then by name, every element aligned to
// its size, and to 64 bytes all tensors whose sizes are multiples of it. Throws Error (kIo;
// kInvalidArgument for a name given twice or bytes that do not fit the shape).
void write_safetensors(const std::filesystem::path& path, std::vector<TensorToWrite> tensors,
                       const std::map<std::string, std::string>& metadata = {},
                       Durability durability = Durability::kAtOnce);

}  // namespace chunkllm
