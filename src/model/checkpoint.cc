#include "model/checkpoint.h"

#include <algorithm>
#include <cstring>

#include "base/error.h"
#include "base/json.h"
#include "base/sha256.h"
#include "model/architecture.h"
#include "model/gguf_names.h"

namespace chunkllm {
namespace {

std::variant<SafetensorsModel, GgufFile> open(const std::filesystem::path& model) {
  if (is_gguf_file(model)) return GgufFile(model);
  return SafetensorsModel(model);
}

constexpr std::string_view kEmbedding = "model.embed_tokens.weight";
constexpr std::string_view kHead = "lm_head.weight";

// How folders begin the names of tensors: of a whole model, of one without the class of its head,
// and of the text part of a larger one.
struct Prefixes {
  std::string_view body;
  std::string_view head;
};
constexpr Prefixes kPrefixes[] = {{"model.", "lm_head."},
                                  {"", "lm_head."},
                                  {"language_model.model.", "language_model.lm_head."},
                                  {"model.language_model.", "lm_head."}};

// A tensor that would be left out is a wrong model.
TensorMap renamed(const GgufFile& file, const Architecture& family) {
  TensorMap tensors;
  for (const auto& [name, tensor] : file.tensors()) {
    if (name == kRopeDivisors) continue;  // part of the configuration
    const auto hf_name = hf_tensor_name(family, name);
    if (!hf_name) {
      fail(ErrorCode::kUnsupported, "{}: the tensor {} is not supported", file.path().string(),
           show_text(name));
    }
    tensors.emplace(*hf_name, tensor);
  }
  return tensors;
}

// By the names of a whole model; what else a folder has is no part of it.
TensorMap renamed(const SafetensorsModel& folder, bool tied_embeddings) {
  TensorMap tensors;
  const TensorMap& all = folder.tensors();
  for (const Prefixes& prefixes : kPrefixes) {
    if (!all.contains(std::string(prefixes.body) + "embed_tokens.weight")) continue;
    for (const auto& [name, tensor] : all) {
      if (name.starts_with(prefixes.head)) {
        tensors.emplace("lm_head." + name.substr(prefixes.head.size()), tensor);
      } else if (name.starts_with(prefixes.body)) {
        tensors.emplace("model." + name.substr(prefixes.body.size()), tensor);
      }
    }
    return tensors;
  }
  tensors = all;
  if (tied_embeddings && tensors.contains(kHead)) {
    auto only = tensors.extract(tensors.find(kHead));
    only.key() = kEmbedding;
    tensors.insert(std::move(only));
  }
  return tensors;
}

}  // namespace

Checkpoint::Checkpoint(const std::filesystem::path& model, const ModelConfig& config)
    : path_(model), source_(open(model)), family_(config.family), head_dim_(config.head_dim) {
  const auto* gguf = std::get_if<GgufFile>(&source_);
  tensors_ = gguf != nullptr ? renamed(*gguf, *family_)
                             : renamed(std::get<SafetensorsModel>(source_), config.tied_embeddings);
}

std::string Checkpoint::own_name(std::string_view name) const {
  const auto found = tensors_.find(name);
  if (found != tensors_.end()) return found->second.name;
  if (std::holds_alternative<SafetensorsModel>(source_)) return std::string(name);
  return gguf_tensor_name(*family_, name).value_or(std::string(name));
}

bool Checkpoint::is_interleaved(std::string_view name) const {
  return std::holds_alternative<GgufFile>(source_) && has_interleaved_rows(*family_, name);
}

const TensorView& Checkpoint::require(std::string_view name,
                                      const std::vector<int64_t>& shape) const {
  if (const auto* folder = std::get_if<SafetensorsModel>(&source_)) {
    return folder->require(own_name(name), shape);
  }
  return require_tensor(std::get<GgufFile>(source_).tensors(), own_name(name), shape,
                        path_.string());
}

const TensorView& Checkpoint::require_matrix(std::string_view name, int64_t n_rows,
                                             int64_t n_cols) const {
  const TensorView& tensor = require(name, {n_rows, n_cols});
  if (!is_floating(tensor.dtype) && !is_quantized(tensor.dtype)) {
    fail(ErrorCode::kUnsupported, "{}: tensor {} is {}; weights must be F32, F16 or BF16",
         place(name), tensor.name, dtype_name(tensor.dtype));
  }
  return tensor;
}

void Checkpoint::check_matrix(std::string_view name, int64_t n_rows, int64_t n_cols) const {
  require_matrix(name, n_rows, n_cols);
}

CheckpointMatrix Checkpoint::matrix(std::string_view name, int64_t n_rows, int64_t n_cols) const {
  const TensorView& tensor = require_matrix(name, n_rows, n_cols);
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
  if (!std::holds_alternative<GgufFile>(source_)) {
    for (float& value : values) value += folder_offset(*family_, name);
  }
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
  return folder != nullptr ? folder->place(own_name(name)) : path_.string();
}

std::string Checkpoint::sample_digest() const {
  constexpr size_t kPartBytes = 4096;
  constexpr size_t kMostParts = 64;
  Sha256 hash;
  for (const auto& [name, tensor] : tensors_) {
    const std::string head =
        fmt::format("{} {} {}\n", name, dtype_name(tensor.dtype), shape_text(tensor.shape));
    hash.update(std::as_bytes(std::span(head)));
    const auto bytes = std::as_bytes(tensor.bytes);
    if (bytes.size() <= kMostParts * kPartBytes) {
      hash.update(bytes);
      continue;
    }
    for (size_t i = 0; i < kMostParts; ++i) {
      const size_t begin = (bytes.size() - kPartBytes) / (kMostParts - 1) * i;
      hash.update(bytes.subspan(begin, kPartBytes));
    }
    hash.update(bytes.last(kPartBytes));
  }
  return hash.hex_digest();
}

}  // namespace chunkllm
