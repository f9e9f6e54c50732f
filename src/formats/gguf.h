// GGUF, the file format of ggml and llama.cpp (ggml's docs/gguf.md), versions 2 and 3,
// little-endian: magic, version, counts; metadata, which are typed values by key; names, shapes,
// types and offsets of the tensors; then, aligned, their bytes.
#pragma once

#include <cstdint>
#include <filesystem>
#include <map>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/atomic_file.h"
#include "base/dtype.h"
#include "base/mapped_file.h"
#include "formats/tensor_view.h"

namespace chunkllm {

// Types of metadata values, with the numbers that files give them.
enum class GgufType : uint32_t {
  kU8 = 0,
  kI8 = 1,
  kU16 = 2,
  kI16 = 3,
  kU32 = 4,
  kI32 = 5,
  kF32 = 6,
  kBool = 7,
  kString = 8,
  kArray = 9,
  kU64 = 10,
  kI64 = 11,
  kF64 = 12,
};

// A value of the metadata as it lies in a file: `bytes` is what follows its type.
struct GgufValue {
  std::string_view key;
  GgufType type = GgufType::kU8;
  std::span<const uint8_t> bytes;
};

// Whether `path` is a regular file that begins as GGUF files do.
bool is_gguf_file(const std::filesystem::path& path);

// A mapped GGUF file whose every count, length, type, shape and offset has been checked: all lies
// inside the file, names differ, tensors are aligned and do not overlap. Immutable; any thread may
// read it. Moving it keeps its views valid.
class GgufFile {
 public:
  // Throws Error (kIo if unreadable; kData if the content cannot be trusted, naming field and file;
  // kUnsupported for another version or byte order, a part of a split model, arrays inside arrays,
  // and tensors whose type is none of DType, by name).
  explicit GgufFile(const std::filesystem::path& path);

  const std::filesystem::path& path() const { return path_; }

  // In the order of the file.
  const std::vector<GgufValue>& metadata() const { return metadata_; }
  bool has(std::string_view key) const { return index_.contains(key); }
  // Values by key. All throw Error (kData) naming key and file for a key that is missing (but not
  // those ending in _or), for a value of another type, and for one outside [min, max].
  int64_t integer(std::string_view key, int64_t min, int64_t max) const;
  int64_t integer_or(std::string_view key, int64_t min, int64_t max, int64_t fallback) const;
  double number(std::string_view key) const;  // F32 or F64, finite
  double number_or(std::string_view key, double fallback) const;
  bool boolean_or(std::string_view key, bool fallback) const;
  std::string_view string(std::string_view key) const;
  std::string_view string_or(std::string_view key, std::string_view fallback) const;
  std::vector<std::string_view> strings(std::string_view key) const;  // an array of strings
  std::vector<int32_t> integers(std::string_view key) const;          // an array of I32 or U32
  std::vector<float> floats(std::string_view key) const;              // an array of F32

  // Shapes are row-major: the reverse of what the file says.
  const TensorMap& tensors() const { return tensors_; }
  // Null if there is no such tensor.
  const TensorView* find(std::string_view name) const;
  // Gives the memory of a tensor's whole pages back; they are read from the file again when used.
  void release(const TensorView& tensor) const { file_.release(tensor.bytes); }

 private:
  const GgufValue* find_value(std::string_view key) const;
  const GgufValue& value(std::string_view key) const;
  [[noreturn]] void fail_type(const GgufValue& value, const char* expected) const;

  std::filesystem::path path_;
  MappedFile file_;
  std::vector<GgufValue> metadata_;
  std::map<std::string_view, size_t> index_;  // into metadata_
  TensorMap tensors_;
};

// Metadata to be written. Setting a key again replaces its value.
class GgufMetadata {
 public:
  void set_u32(const std::string& key, uint32_t value);
  void set_f32(const std::string& key, float value);
  void set_bool(const std::string& key, bool value);
  void set_string(const std::string& key, std::string_view value);
  void set_strings(const std::string& key, std::span<const std::string> values);
  void set_integers(const std::string& key, std::span<const int32_t> values);
  void set_floats(const std::string& key, std::span<const float> values);
  void set(const GgufValue& value);  // as it lies in another file

 private:
  friend class GgufWriter;
  struct Entry {
    std::string key;
    GgufType type;
    std::string bytes;
  };
  std::string& entry(const std::string& key, GgufType type);
  std::vector<Entry> entries_;
  std::map<std::string, size_t> index_;  // into entries_
};

struct GgufTensorInfo {
  std::string name;
  DType dtype = DType::kF32;
  std::vector<int64_t> shape;  // row-major
};

// Writes one GGUF file (version 3, alignment 32) atomically: its head when made, then the tensors'
// bytes in the order of `tensors`, in pieces of any size, so that little memory is needed. Without
// commit() nothing is left behind. One thread at a time.
class GgufWriter {
 public:
  // Throws Error: kIo; kInvalidArgument for a name given twice or too long, for more than four
  // dimensions and for types that GGUF lacks.
  GgufWriter(const std::filesystem::path& path, const GgufMetadata& metadata,
             std::vector<GgufTensorInfo> tensors);

  // The next bytes of the tensor that is due. Throws Error (kIo; kInvalidArgument for more than it
  // takes).
  void write(std::span<const std::byte> bytes);
  // Throws Error (kIo; kInvalidArgument if a tensor is not complete).
  void commit();

 private:
  void skip_complete();

  std::filesystem::path path_;
  std::vector<GgufTensorInfo> tensors_;
  AtomicFile file_;
  size_t due_ = 0;           // index of the tensor being written
  int64_t due_written_ = 0;  // bytes of it so far
};

}  // namespace chunkllm
