#include <algorithm>
#include <array>
#include <cstring>
#include <set>

#include "base/error.h"
#include "base/json.h"
#include "formats/gguf.h"
#include "formats/gguf_types.h"

namespace chunkllm {
namespace {

constexpr uint32_t kVersion = 3;
constexpr size_t kMaxNameBytes = 63;  // llama.cpp's limit

template <typename T>
void append(std::string& bytes, T value) {
  std::array<char, sizeof(T)> raw;
  std::memcpy(raw.data(), &value, sizeof(T));
  bytes.append(raw.data(), raw.size());
}

void append_string(std::string& bytes, std::string_view text) {
  append(bytes, static_cast<uint64_t>(text.size()));
  bytes.append(text);
}

int64_t padding(int64_t n_bytes) {
  return (kGgufAlignment - n_bytes % kGgufAlignment) % kGgufAlignment;
}

void check_tensor(const GgufTensorInfo& tensor, const std::string& file) {
  const bool has_dims = !tensor.shape.empty() && tensor.shape.size() <= kMaxGgufDims;
  if (!has_dims || tensor.name.size() > kMaxNameBytes ||
      tensor_bytes(tensor.dtype, tensor.shape) < 0 || !gguf_of_dtype(tensor.dtype)) {
    fail(ErrorCode::kInvalidArgument,
         "{}: tensor {}: {} {} cannot be written as GGUF; nothing was written", file,
         show_text(tensor.name), dtype_name(tensor.dtype), shape_text(tensor.shape));
  }
}

}  // namespace

std::string& GgufMetadata::entry(const std::string& key, GgufType type) {
  const auto [place, is_new] = index_.emplace(key, entries_.size());
  if (is_new) entries_.emplace_back();
  Entry& entry = entries_[place->second];
  entry = {key, type, {}};
  return entry.bytes;
}

void GgufMetadata::set_u32(const std::string& key, uint32_t value) {
  append(entry(key, GgufType::kU32), value);
}

void GgufMetadata::set_f32(const std::string& key, float value) {
  append(entry(key, GgufType::kF32), value);
}

void GgufMetadata::set_bool(const std::string& key, bool value) {
  append(entry(key, GgufType::kBool), static_cast<uint8_t>(value));
}

void GgufMetadata::set_string(const std::string& key, std::string_view value) {
  append_string(entry(key, GgufType::kString), value);
}

void GgufMetadata::set_strings(const std::string& key, std::span<const std::string> values) {
  std::string& bytes = entry(key, GgufType::kArray);
  append(bytes, static_cast<uint32_t>(GgufType::kString));
  append(bytes, static_cast<uint64_t>(values.size()));
  for (const std::string& value : values) append_string(bytes, value);
}

void GgufMetadata::set_integers(const std::string& key, std::span<const int32_t> values) {
  std::string& bytes = entry(key, GgufType::kArray);
  append(bytes, static_cast<uint32_t>(GgufType::kI32));
  append(bytes, static_cast<uint64_t>(values.size()));
  for (const int32_t value : values) append(bytes, value);
}

void GgufMetadata::set_floats(const std::string& key, std::span<const float> values) {
  std::string& bytes = entry(key, GgufType::kArray);
  append(bytes, static_cast<uint32_t>(GgufType::kF32));
  append(bytes, static_cast<uint64_t>(values.size()));
  for (const float value : values) append(bytes, value);
}

void GgufMetadata::set(const GgufValue& value) {
  entry(std::string(value.key), value.type)
      .assign(reinterpret_cast<const char*>(value.bytes.data()), value.bytes.size());
}

GgufWriter::GgufWriter(const std::filesystem::path& path, const GgufMetadata& metadata,
                       std::vector<GgufTensorInfo> tensors)
    : path_(path), tensors_(std::move(tensors)), file_(path) {
  std::string head;
  append(head, kGgufMagic);
  append(head, kVersion);
  append(head, static_cast<uint64_t>(tensors_.size()));
  append(head, static_cast<uint64_t>(metadata.entries_.size()));
  for (const GgufMetadata::Entry& entry : metadata.entries_) {
    append_string(head, entry.key);
    append(head, static_cast<uint32_t>(entry.type));
    head += entry.bytes;
  }
  std::set<std::string_view> names;
  int64_t offset = 0;
  for (const GgufTensorInfo& tensor : tensors_) {
    check_tensor(tensor, path.string());
    if (!names.insert(tensor.name).second) {
      fail(ErrorCode::kInvalidArgument, "{}: the tensor name {} is taken; nothing was written",
           path.string(), show_text(tensor.name));
    }
    append_string(head, tensor.name);
    append(head, static_cast<uint32_t>(tensor.shape.size()));
    for (size_t i = tensor.shape.size(); i > 0; --i) {
      append(head, static_cast<uint64_t>(tensor.shape[i - 1]));
    }
    append(head, *gguf_of_dtype(tensor.dtype));
    append(head, static_cast<uint64_t>(offset));
    const int64_t n_bytes = tensor_bytes(tensor.dtype, tensor.shape);
    offset += n_bytes + padding(n_bytes);
  }
  head.append(static_cast<size_t>(padding(static_cast<int64_t>(head.size()))), '\0');
  file_.write(head);
  skip_complete();
}

void GgufWriter::skip_complete() {
  constexpr std::array<std::byte, kGgufAlignment> kZeros{};
  while (due_ < tensors_.size() &&
         due_written_ == tensor_bytes(tensors_[due_].dtype, tensors_[due_].shape)) {
    file_.write(std::span(kZeros).first(static_cast<size_t>(padding(due_written_))));
    ++due_;
    due_written_ = 0;
  }
}

void GgufWriter::write(std::span<const std::byte> bytes) {
  const int64_t room = due_ < tensors_.size()
                           ? tensor_bytes(tensors_[due_].dtype, tensors_[due_].shape) - due_written_
                           : 0;
  const auto n_bytes = static_cast<int64_t>(bytes.size());
  if (n_bytes > room) {
    fail(ErrorCode::kInvalidArgument, "{}: {} bytes for a tensor that takes {} more; refused",
         path_.string(), n_bytes, room);
  }
  file_.write(bytes);
  due_written_ += n_bytes;
  skip_complete();
}

void GgufWriter::commit() {
  if (due_ < tensors_.size()) {
    fail(ErrorCode::kInvalidArgument, "{}: tensor {} is not complete; nothing was written",
         path_.string(), show_text(tensors_[due_].name));
  }
  file_.commit();
}

}  // namespace chunkllm
