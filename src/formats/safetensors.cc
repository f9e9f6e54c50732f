#include "formats/safetensors.h"

#include <algorithm>
#include <array>
#include <bit>
#include <utility>

#include "base/atomic_file.h"
#include "base/error.h"
#include "base/json.h"

namespace chunkllm {
namespace {

using nlohmann::json;

static_assert(std::endian::native == std::endian::little,
              "tensor data is used as it lies in the file");

constexpr const char* kMetadataName = "__metadata__";
constexpr size_t kLengthBytes = 8;
constexpr uint64_t kMaxHeaderBytes = 100'000'000;
constexpr size_t kMaxTensors = 1'000'000;
constexpr size_t kMaxDims = 16;
constexpr std::array kDTypes = {DType::kF32, DType::kF16, DType::kBf16,
                                DType::kI32, DType::kI64, DType::kU8};

// Reads the header of one file; `data` is what follows the header.
class HeaderReader {
 public:
  HeaderReader(std::string where, std::string_view advice, std::span<const uint8_t> data)
      : where_(std::move(where)), advice_(advice), data_(data) {}

  TensorView tensor(const std::string& name, const json& fields) const {
    const std::string place = fmt::format("{}: tensor {}", where_, show_text(name));
    const JsonFields info(fields, place);
    TensorView view{name, dtype(info.string("dtype"), place), {}, {}};

    const json& shape = info.at("shape");
    if (!shape.is_array() || shape.size() > kMaxDims) {
      fail(ErrorCode::kData, "{}: \"shape\" must be a list of at most {} sizes; {}", place,
           kMaxDims, advice_);
    }
    for (const json& size : shape) view.shape.push_back(natural(size, "shape", place));

    const json& offsets = info.at("data_offsets");
    if (!offsets.is_array() || offsets.size() != 2) {
      fail(ErrorCode::kData, "{}: \"data_offsets\" must be two numbers; {}", place, advice_);
    }
    const int64_t begin = natural(offsets[0], "data_offsets", place);
    const int64_t end = natural(offsets[1], "data_offsets", place);
    if (begin > end || end > static_cast<int64_t>(data_.size())) {
      fail(ErrorCode::kData, "{}: bytes {} to {} are not inside the {} bytes of data; {}", place,
           begin, end, data_.size(), advice_);
    }
    if (tensor_bytes(view.dtype, view.shape) != end - begin) {
      fail(ErrorCode::kData, "{}: {} {} does not take {} bytes; {}", place, dtype_name(view.dtype),
           shape_text(view.shape), end - begin, advice_);
    }
    view.bytes = data_.subspan(static_cast<size_t>(begin), static_cast<size_t>(end - begin));
    return view;
  }

  std::map<std::string, std::string> metadata(const json& fields) const {
    const bool all_strings =
        std::ranges::all_of(fields, [](const json& value) { return value.is_string(); });
    if (!fields.is_object() || !all_strings) {
      fail(ErrorCode::kData, "{}: {} must be an object of strings; {}", where_, kMetadataName,
           advice_);
    }
    return fields.get<std::map<std::string, std::string>>();
  }

  // Every byte of the data must belong to exactly one tensor, as the specification demands.
  void check_layout(const TensorMap& tensors) const {
    std::vector<const TensorView*> by_place;
    by_place.reserve(tensors.size());
    for (const auto& [name, view] : tensors) by_place.push_back(&view);
    std::ranges::sort(by_place, {}, [](const TensorView* view) {
      return std::pair(view->bytes.data(), view->bytes.size());
    });
    const uint8_t* expected = data_.data();
    for (const TensorView* view : by_place) {
      if (view->bytes.data() != expected) {
        fail(ErrorCode::kData, "{}: tensor {} {}; {}", where_, show_text(view->name),
             view->bytes.data() < expected ? "overlaps another one"
                                           : "begins behind bytes that belong to no tensor",
             advice_);
      }
      expected += view->bytes.size();
    }
    const auto rest = data_.data() + data_.size() - expected;
    if (rest != 0) {
      fail(ErrorCode::kData, "{}: the last {} bytes belong to no tensor; {}", where_, rest,
           advice_);
    }
  }

 private:
  static DType dtype(const std::string& name, const std::string& place) {
    const auto* known = std::ranges::find(kDTypes, std::string_view(name), dtype_name);
    if (known == kDTypes.end()) {
      fail(ErrorCode::kUnsupported,
           "{}: the type {} is not supported; convert it to F32, F16, BF16, I32, I64 or U8", place,
           show_text(name));
    }
    return *known;
  }

  int64_t natural(const json& value, const char* field, const std::string& place) const {
    constexpr uint64_t kMax = uint64_t{1} << 62;
    if (!value.is_number_unsigned() || value.get<uint64_t>() > kMax) {
      fail(ErrorCode::kData, "{}: \"{}\" must hold integers from 0 to 2^62; {}", place, field,
           advice_);
    }
    return value.get<int64_t>();
  }

  std::string where_;
  std::string_view advice_;
  std::span<const uint8_t> data_;
};

}  // namespace

SafetensorsFile::SafetensorsFile(const std::filesystem::path& path, std::string_view advice)
    : path_(path), advice_(advice), file_(path) {
  const std::string where = path.string();
  const std::span<const uint8_t> bytes = file_.bytes();
  uint64_t header_bytes = 0;
  for (size_t i = 0; i < std::min(kLengthBytes, bytes.size()); ++i) {
    header_bytes |= uint64_t{bytes[i]} << (8 * i);
  }
  if (bytes.size() < kLengthBytes || header_bytes > kMaxHeaderBytes ||
      header_bytes > bytes.size() - kLengthBytes || header_bytes == 0 ||
      bytes[kLengthBytes] != '{') {
    fail(ErrorCode::kData, "{} is no safetensors file or was cut short; {}", where, advice_);
  }
  const auto* text = reinterpret_cast<const char*>(bytes.data()) + kLengthBytes;
  const json header =
      parse_json({text, static_cast<size_t>(header_bytes)}, where + ": header", advice_);
  if (header.size() > kMaxTensors) {
    fail(ErrorCode::kData, "{} names {} tensors, more than {}; split it", where, header.size(),
         kMaxTensors);
  }
  const HeaderReader reader(where, advice_,
                            bytes.subspan(kLengthBytes + static_cast<size_t>(header_bytes)));
  for (const auto& [name, fields] : header.items()) {
    if (name == kMetadataName) {
      metadata_ = reader.metadata(fields);
    } else {
      tensors_.emplace(name, reader.tensor(name, fields));
    }
  }
  reader.check_layout(tensors_);
}

const TensorView* SafetensorsFile::find(std::string_view name) const {
  const auto tensor = tensors_.find(name);
  return tensor == tensors_.end() ? nullptr : &tensor->second;
}

const TensorView& SafetensorsFile::require(std::string_view name,
                                           const std::vector<int64_t>& shape) const {
  return require_tensor(tensors_, name, shape, path_.string(),
                        advice_ == kGetFileAgain ? kCheckItsModel : std::string_view(advice_));
}

std::vector<float> SafetensorsFile::require_floats(std::string_view name,
                                                   const std::vector<int64_t>& shape) const {
  return tensor_floats(require(name, shape), path_.string(), advice_);
}

void write_safetensors(const std::filesystem::path& path, std::vector<TensorToWrite> tensors,
                       const std::map<std::string, std::string>& metadata, Durability durability) {
  // Wider types first: behind a header of a multiple of their sizes every element is aligned.
  std::ranges::sort(tensors, {}, [](const TensorToWrite& tensor) {
    return std::pair(-dtype_bytes(tensor.dtype), std::string_view(tensor.name));
  });
  json header = json::object();
  if (!metadata.empty()) header[kMetadataName] = metadata;
  size_t offset = 0;
  const auto check_size = [&](const TensorToWrite& tensor, size_t n_bytes) {
    if (tensor_bytes(tensor.dtype, tensor.shape) == static_cast<int64_t>(n_bytes)) return;
    fail(ErrorCode::kInvalidArgument, "{}: tensor {}: {} bytes are not {} {}; nothing was written",
         path.string(), show_text(tensor.name), n_bytes, dtype_name(tensor.dtype),
         shape_text(tensor.shape));
  };
  for (const TensorToWrite& tensor : tensors) {
    const int64_t due = tensor_bytes(tensor.dtype, tensor.shape);
    if (!tensor.read || due < 0) check_size(tensor, tensor.bytes.size());
    if (tensor.name == kMetadataName || header.contains(tensor.name)) {
      fail(ErrorCode::kInvalidArgument, "{}: the tensor name {} is taken; nothing was written",
           path.string(), show_text(tensor.name));
    }
    const auto n_bytes = static_cast<size_t>(due);
    header[tensor.name] = {{"dtype", dtype_name(tensor.dtype)},
                           {"shape", tensor.shape},
                           {"data_offsets", {offset, offset + n_bytes}}};
    offset += n_bytes;
  }
  std::string text;
  try {
    text = header.dump();
  } catch (const json::type_error&) {
    fail(ErrorCode::kInvalidArgument,
         "{}: a name or its metadata is not UTF-8; nothing was written", path.string());
  }
  constexpr size_t kAlignment = 64;  // as mappings are, and more
  const size_t header_bytes =
      (kLengthBytes + text.size() + kAlignment - 1) / kAlignment * kAlignment;
  text.resize(header_bytes - kLengthBytes, ' ');

  AtomicFile file(path);
  std::array<std::byte, kLengthBytes> length;
  for (size_t i = 0; i < kLengthBytes; ++i)
    length[i] = static_cast<std::byte>(text.size() >> (8 * i));
  file.write(length);
  file.write(text);
  for (const TensorToWrite& tensor : tensors) {
    const std::span<const std::byte> bytes = tensor.bytes_now();
    check_size(tensor, bytes.size());
    file.write(bytes);
  }
  file.commit(durability);
}

}  // namespace chunkllm
