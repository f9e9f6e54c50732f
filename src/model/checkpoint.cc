#include "model/checkpoint.h"

#include <algorithm>
#include <cstring>

#include "base/error.h"
#include "base/json.h"
#include "base/sha256.h"
#include "model/gguf_names.h"

namespace chunkllm {
namespace {

std::variant<SafetensorsModel, GgufFile> open(const std::filesystem::path& model) {
  if (is_gguf_file(model)) return GgufFile(model);
  return SafetensorsModel(model);
}

// A tensor that would be left out is a wrong model.
TensorMap renamed(const GgufFile& file) {
  TensorMap tensors;
  for (const auto& [name, tensor] : file.tensors()) {
    if (name == kRopeDivisors) continue;  // part of the configuration
    const auto hf_name = hf_tensor_name(name);
    if (!hf_name) {
      fail(ErrorCode::kUnsupported, "{}: the tensor {} is not supported", file.path().string(),
           show_text(name));
    }
    tensors.emplace(*hf_name, tensor);
  }
  return tensors;
}

constexpr std::string_view kEmbedding = "model.embed_tokens.weight";
constexpr std::string_view kHead = "lm_head.weight";

TensorMap renamed(const SafetensorsModel& folder, bool tied_embeddings) {
  TensorMap tensors;
  const bool is_base = folder.tensors().contains("embed_tokens.weight");
  for (const auto& [name, tensor] : folder.tensors()) {
    const bool is_inner = name.starts_with("embed_tokens.") || name.starts_with("layers.") ||
                          name.starts_with("norm.");
    tensors.emplace(is_base && is_inner ? "model." + name : name, tensor);
  }
  if (tied_embeddings && !tensors.contains(kEmbedding) && tensors.contains(kHead)) {
    auto only = tensors.extract(tensors.find(kHead));
    only.key() = kEmbedding;
    tensors.insert(std::move(only));
  }
  return tensors;
}

}  // namespace

Checkpoint::Checkpoint(const std::filesystem::path& model, const ModelConfig& config)
    : path_(model), source_(open(model)), head_dim_(config.head_dim) {
  const auto* gguf = std::get_if<GgufFile>(&source_);
  tensors_ = gguf != nullptr ? renamed(*gguf)
                             : renamed(std::get<SafetensorsModel>(source_), config.tied_embeddings);
}

bool Checkpoint::is_interleaved(std::string_view name) const {
  const auto* gguf = std::get_if<GgufFile>(&source_);
  return gguf != nullptr && has_interleaved_rows(gguf->string("general.architecture"), name);
}

const TensorView& Checkpoint::require(std::string_view name,
                                      const std::vector<int64_t>& shape) const {
  if (const auto* folder = std::get_if<SafetensorsModel>(&source_)) {
    const auto found = tensors_.find(name);
    return folder->require(found == tensors_.end() ? name : found->second.name, shape);
  }
  const auto own_name = gguf_tensor_name(name);
  return require_tensor(std::get<GgufFile>(source_).tensors(), own_name.value_or(std::string(name)),
                        shape, path_.string());
}

CheckpointMatrix Checkpoint::matrix(std::string_view name, int64_t n_rows, int64_t n_cols) const {
  const TensorView& tensor = require(name, {n_rows, n_cols});
  if (!is_floating(tensor.dtype) && !is_quantized(tensor.dtype)) {
    fail(ErrorCode::kUnsupported, "{}: tensor {} is {}; weights must be F32, F16 or BF16",
         place(name), tensor.name, dtype_name(tensor.dtype));
  }
  CheckpointMatrix matrix{{tensor.dtype, tensor.bytes.data(), n_rows, n_cols}, {}};
  if (!is_interleaved(name)) return matrix;
  const auto row_bytes = static_cast<size_t>(dtype_row_bytes(tensor.dtype, n_cols));
  matrix.rows.resize(tensor.bytes.size());
  for (int64_t row = 0; row < n_rows; ++row) {
    const auto from = static_cast<size_t>(interleaved_row(row, head_dim_)) * row_bytes;
    std::memcpy(matrix.rows.data() + static_cast<size_t>(row) * row_bytes,
                tensor.bytes.data() + from, row_bytes);
  }
  matrix.view.data = matrix.rows.data();
  return matrix;
}

std::vector<float> Checkpoint::vector(std::string_view name, int64_t n) const {
  std::vector<float> values = tensor_floats(require(name, {n}), place(name));
  if (!is_interleaved(name)) return values;
  std::vector<float> ordered(values.size());
  for (int64_t i = 0; i < n; ++i) {
    ordered[static_cast<size_t>(i)] = values[static_cast<size_t>(interleaved_row(i, head_dim_))];
  }
  return ordered;
}

void Checkpoint::release(std::string_view name) const {
  const auto tensor = tensors_.find(name);
  if (tensor == tensors_.end()) return;
  std::visit([&](const auto& source) { source.release(tensor->second); }, source_);
}

std::string Checkpoint::place(std::string_view name) const {
  const auto* folder = std::get_if<SafetensorsModel>(&source_);
  if (folder == nullptr) return path_.string();
  const auto found = tensors_.find(name);
  return folder->place(found == tensors_.end() ? name : found->second.name);
}

std::string Checkpoint::sample_digest() const {
  constexpr size_t kSampleBytes = 4096;
  Sha256 hash;
  for (const auto& [name, tensor] : tensors_) {
    const std::string head =
        fmt::format("{} {} {}\n", name, dtype_name(tensor.dtype), shape_text(tensor.shape));
    hash.update(std::as_bytes(std::span(head)));
    const auto bytes = std::as_bytes(tensor.bytes);
    const size_t n = std::min(kSampleBytes, bytes.size());
    hash.update(bytes.first(n));
    hash.update(bytes.last(n));
  }
  return hash.hex_digest();
}

}  // namespace chunkllm
