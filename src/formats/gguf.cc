#include "formats/gguf.h"

#include <algorithm>
#include <bit>
#include <cmath>
#include <cstring>
#include <fstream>

#include "base/error.h"
#include "base/json.h"
#include "formats/gguf_types.h"

namespace chunkllm {
namespace {

static_assert(std::endian::native == std::endian::little,
              "numbers and tensor data are used as they lie in the file");

constexpr uint64_t kMaxKeyBytes = 65535;
constexpr uint64_t kMaxTensorNameBytes = 64;
constexpr uint64_t kMaxAlignment = uint64_t{1} << 20;

template <typename T>
T load(std::span<const uint8_t> bytes, size_t at = 0) {
  T value;
  std::memcpy(&value, bytes.data() + at, sizeof(T));
  return value;
}

std::string_view as_text(std::span<const uint8_t> bytes) {
  return {reinterpret_cast<const char*>(bytes.data()), bytes.size()};
}

// Walks through the head of a file. Every step is checked against what is left of it.
class Cursor {
 public:
  Cursor(std::span<const uint8_t> bytes, const std::string& file) : bytes_(bytes), file_(file) {}

  template <typename T>
  T number(const char* what) {
    return load<T>(take(sizeof(T), what));
  }

  std::string_view string(const char* what, uint64_t max_bytes) {
    const uint64_t n = number<uint64_t>(what);
    if (n > max_bytes) {
      fail(ErrorCode::kData, "{}: {} at byte {} has {} bytes, more than {}; get the file again",
           file_, what, at_ - sizeof(n), n, max_bytes);
    }
    return as_text(take(n, what));
  }

  // What follows the type of a value.
  std::span<const uint8_t> value(GgufType type, std::string_view key) {
    const size_t begin = at_;
    if (type == GgufType::kString) {
      string("a string of the metadata", bytes_.size());
    } else if (type == GgufType::kArray) {
      array(key);
    } else {
      take(static_cast<uint64_t>(scalar_bytes(type, key)), "a value of the metadata");
    }
    return bytes_.subspan(begin, at_ - begin);
  }

  size_t at() const { return at_; }

 private:
  void array(std::string_view key) {
    const auto type = GgufType{number<uint32_t>("the type of an array")};
    const uint64_t n = number<uint64_t>("the length of an array");
    if (type == GgufType::kArray) {
      fail(ErrorCode::kUnsupported, "{}: {} is an array of arrays, which is not supported", file_,
           show_text(key));
    }
    if (type == GgufType::kString) {
      // Each string has a length of its own, so a false count ends at the end of the file.
      for (uint64_t i = 0; i < n; ++i) string("a string of the metadata", bytes_.size());
      return;
    }
    const auto element_bytes = static_cast<uint64_t>(scalar_bytes(type, key));
    if (n > (bytes_.size() - at_) / element_bytes) fail_short("an array of the metadata");
    take(n * element_bytes, "an array of the metadata");
  }

  int64_t scalar_bytes(GgufType type, std::string_view key) const {
    const int64_t n = gguf_scalar_bytes(type);
    if (n == 0) {
      fail(ErrorCode::kData, "{}: {} has the type {}, which there is not; get the file again",
           file_, show_text(key), static_cast<uint32_t>(type));
    }
    return n;
  }

  std::span<const uint8_t> take(uint64_t n, const char* what) {
    if (n > bytes_.size() - at_) fail_short(what);
    const auto part = bytes_.subspan(at_, static_cast<size_t>(n));
    at_ += static_cast<size_t>(n);
    return part;
  }

  [[noreturn]] void fail_short(const char* what) const {
    fail(ErrorCode::kData, "{} ends inside {} at byte {}; get the file again", file_, what, at_);
  }

  std::span<const uint8_t> bytes_;
  const std::string& file_;
  size_t at_ = 0;
};

// What the head says of one tensor.
struct TensorHead {
  TensorView view;  // without bytes
  uint64_t offset = 0;
};

TensorHead read_tensor_head(Cursor& cursor, const std::string& file) {
  TensorHead head;
  TensorView& view = head.view;
  view.name = cursor.string("the name of a tensor", kMaxTensorNameBytes);
  const std::string place = fmt::format("{}: tensor {}", file, show_text(view.name));
  const uint32_t n_dims = cursor.number<uint32_t>("the dimensions of a tensor");
  if (n_dims < 1 || n_dims > kMaxGgufDims) {
    fail(ErrorCode::kData, "{}: {} dimensions, expected 1 to {}; get the file again", place, n_dims,
         kMaxGgufDims);
  }
  for (uint32_t i = 0; i < n_dims; ++i) {
    const uint64_t size = cursor.number<uint64_t>("the dimensions of a tensor");
    if (size < 1 || size > uint64_t{1} << 62) {
      fail(ErrorCode::kData, "{}: a dimension of {}; get the file again", place, size);
    }
    view.shape.insert(view.shape.begin(), static_cast<int64_t>(size));
  }
  const uint32_t type = cursor.number<uint32_t>("the type of a tensor");
  const std::optional<DType> dtype = dtype_of_gguf(type);
  if (!dtype) {
    fail(
        ErrorCode::kUnsupported,
        "{}: the type {} is not supported; get the model in another quantisation, or make one from "
        "the original (supported: {})",
        place, gguf_tensor_type_name(type), gguf_tensor_types());
  }
  view.dtype = *dtype;
  head.offset = cursor.number<uint64_t>("the offset of a tensor");
  return head;
}

// The tensor's bytes inside `data`.
void place_tensor(TensorHead& head, std::span<const uint8_t> data, uint64_t alignment,
                  const std::string& file) {
  TensorView& view = head.view;
  const std::string place = fmt::format("{}: tensor {}", file, show_text(view.name));
  const int64_t n_bytes = tensor_bytes(view.dtype, view.shape);
  if (n_bytes < 0) {
    fail(ErrorCode::kData, "{}: {} {} is no possible size; get the file again", place,
         dtype_name(view.dtype), shape_text(view.shape));
  }
  if (head.offset % alignment != 0) {
    fail(ErrorCode::kData,
         "{}: its offset {} is no multiple of the alignment {}; get the file again", place,
         head.offset, alignment);
  }
  if (head.offset > data.size() || static_cast<uint64_t>(n_bytes) > data.size() - head.offset) {
    fail(ErrorCode::kData,
         "{}: {} bytes from {} on are not inside the {} bytes of data; get the file again", place,
         n_bytes, head.offset, data.size());
  }
  view.bytes = data.subspan(static_cast<size_t>(head.offset), static_cast<size_t>(n_bytes));
}

// Writers leave no gaps: each tensor begins where the one before ends, rounded up to the alignment,
// and the file ends with the last. So no tensor passes with a smaller type or shape than its own.
void check_places(const TensorMap& tensors, std::span<const uint8_t> data, uint64_t alignment,
                  const std::string& file) {
  std::vector<const TensorView*> by_place;
  by_place.reserve(tensors.size());
  for (const auto& [name, view] : tensors) by_place.push_back(&view);
  std::ranges::sort(by_place, {}, [](const TensorView* view) { return view->bytes.data(); });
  const TensorView* before = nullptr;
  const auto fail_gap = [&](uint64_t n_bytes, const TensorView& next) {
    const std::string where =
        before == nullptr ? fmt::format("before the first tensor, {},", show_text(next.name))
                          : fmt::format("after the tensor {}, {} {},", show_text(before->name),
                                        dtype_name(before->dtype), shape_text(before->shape));
    fail(ErrorCode::kData, "{}: {} bytes {} belong to none; get the file again", file, n_bytes,
         where);
  };
  uint64_t expected = 0;
  for (const TensorView* view : by_place) {
    const auto begin = static_cast<uint64_t>(view->bytes.data() - data.data());
    if (begin < expected) {
      fail(ErrorCode::kData, "{}: the tensors {} and {} overlap; get the file again", file,
           show_text(before->name), show_text(view->name));
    }
    if (begin > expected) fail_gap(begin - expected, *view);
    before = view;
    expected = (begin + view->bytes.size() + alignment - 1) / alignment * alignment;
  }
  if (before != nullptr && data.size() > expected) fail_gap(data.size() - expected, *before);
}

uint32_t read_version(Cursor& cursor, const std::string& file) {
  if (cursor.number<uint32_t>("the magic") != kGgufMagic) {
    fail(ErrorCode::kData, "{} is no GGUF file; get the file again", file);
  }
  const uint32_t version = cursor.number<uint32_t>("the version");
  if (version != 2 && version != 3) {
    const bool is_swapped = (version & 0xffff) == 0 && version != 0;
    fail(ErrorCode::kUnsupported, "{}: GGUF {} is not supported; convert the model again", file,
         is_swapped ? std::string("in big-endian order") : fmt::format("version {}", version));
  }
  return version;
}

}  // namespace

bool is_gguf_file(const std::filesystem::path& path) {
  std::error_code error;
  if (!std::filesystem::is_regular_file(path, error)) return false;
  std::ifstream file(path, std::ios::binary);
  uint32_t magic = 0;
  file.read(reinterpret_cast<char*>(&magic), sizeof(magic));
  return file && magic == kGgufMagic;
}

GgufFile::GgufFile(const std::filesystem::path& path) : path_(path), file_(path) {
  const std::string file = path.string();
  Cursor cursor(file_.bytes(), file);
  read_version(cursor, file);
  const uint64_t n_tensors = cursor.number<uint64_t>("the number of tensors");
  const uint64_t n_values = cursor.number<uint64_t>("the number of metadata");

  for (uint64_t i = 0; i < n_values; ++i) {
    GgufValue value;
    value.key = cursor.string("a key of the metadata", kMaxKeyBytes);
    value.type = GgufType{cursor.number<uint32_t>("the type of a value")};
    value.bytes = cursor.value(value.type, value.key);
    if (!index_.emplace(value.key, metadata_.size()).second) {
      fail(ErrorCode::kData, "{}: {} stands twice in the metadata; get the file again", file,
           show_text(value.key));
    }
    metadata_.push_back(value);
  }
  if (integer_or("split.count", 0, 65535, 1) > 1) {
    fail(ErrorCode::kUnsupported,
         "{} is one part of a split model; join the parts with llama-gguf-split --merge", file);
  }
  const auto alignment = static_cast<uint64_t>(
      integer_or("general.alignment", 1, int64_t{kMaxAlignment}, kGgufAlignment));
  if (!std::has_single_bit(alignment)) {
    fail(ErrorCode::kData, "{}: general.alignment {} is no power of two; get the file again", file,
         alignment);
  }

  std::vector<TensorHead> heads;
  for (uint64_t i = 0; i < n_tensors; ++i) heads.push_back(read_tensor_head(cursor, file));
  const size_t data_begin = (cursor.at() + alignment - 1) / alignment * alignment;
  const auto data = file_.bytes().subspan(std::min(data_begin, file_.bytes().size()));
  for (TensorHead& head : heads) {
    place_tensor(head, data, alignment, file);
    const std::string name = head.view.name;
    if (!tensors_.emplace(name, std::move(head.view)).second) {
      fail(ErrorCode::kData, "{}: two tensors are called {}; get the file again", file,
           show_text(name));
    }
  }
  check_places(tensors_, data, alignment, file);
}

const GgufValue* GgufFile::find_value(std::string_view key) const {
  const auto found = index_.find(key);
  return found == index_.end() ? nullptr : &metadata_[found->second];
}

const GgufValue& GgufFile::value(std::string_view key) const {
  const GgufValue* found = find_value(key);
  if (found == nullptr) {
    fail(ErrorCode::kData, "{}: {} is missing from the metadata; convert the model again",
         path_.string(), key);
  }
  return *found;
}

void GgufFile::fail_type(const GgufValue& value, const char* expected) const {
  fail(ErrorCode::kData, "{}: {} must be {}, found the type {}; convert the model again",
       path_.string(), value.key, expected, gguf_type_name(value.type));
}

int64_t GgufFile::integer(std::string_view key, int64_t min, int64_t max) const {
  const GgufValue& found = value(key);
  const std::optional<int64_t> number = gguf_integer(found.type, found.bytes.data());
  if (!number) fail_type(found, "an integer");
  if (*number < min || *number > max) {
    fail(ErrorCode::kData, "{}: {} is {}, which is not from {} to {}", path_.string(), key, *number,
         min, max);
  }
  return *number;
}

int64_t GgufFile::integer_or(std::string_view key, int64_t min, int64_t max,
                             int64_t fallback) const {
  return has(key) ? integer(key, min, max) : fallback;
}

double GgufFile::number(std::string_view key) const {
  const GgufValue& found = value(key);
  double number = 0;
  if (found.type == GgufType::kF32) {
    number = load<float>(found.bytes);
  } else if (found.type == GgufType::kF64) {
    number = load<double>(found.bytes);
  } else {
    fail_type(found, "a floating-point number");
  }
  if (!std::isfinite(number)) {
    fail(ErrorCode::kData, "{}: {} is {}; convert the model again", path_.string(), key, number);
  }
  return number;
}

double GgufFile::number_or(std::string_view key, double fallback) const {
  return has(key) ? number(key) : fallback;
}

bool GgufFile::boolean_or(std::string_view key, bool fallback) const {
  const GgufValue* found = find_value(key);
  if (found == nullptr) return fallback;
  if (found->type != GgufType::kBool) fail_type(*found, "a boolean");
  if (found->bytes[0] > 1) {
    fail(ErrorCode::kData, "{}: {} is {}, no boolean; get the file again", path_.string(), key,
         found->bytes[0]);
  }
  return found->bytes[0] == 1;
}

std::string_view GgufFile::string(std::string_view key) const {
  const GgufValue& found = value(key);
  if (found.type != GgufType::kString) fail_type(found, "a string");
  return as_text(found.bytes.subspan(sizeof(uint64_t)));
}

std::string_view GgufFile::string_or(std::string_view key, std::string_view fallback) const {
  return has(key) ? string(key) : fallback;
}

std::vector<std::string_view> GgufFile::strings(std::string_view key) const {
  const GgufValue& found = value(key);
  if (found.type != GgufType::kArray ||
      GgufType{load<uint32_t>(found.bytes)} != GgufType::kString) {
    fail_type(found, "an array of strings");
  }
  std::vector<std::string_view> list;
  size_t at = sizeof(uint32_t) + sizeof(uint64_t);
  while (at < found.bytes.size()) {
    const auto n = static_cast<size_t>(load<uint64_t>(found.bytes, at));
    at += sizeof(uint64_t);
    list.push_back(as_text(found.bytes.subspan(at, n)));
    at += n;
  }
  return list;
}

std::vector<int32_t> GgufFile::integers(std::string_view key) const {
  const GgufValue& found = value(key);
  const auto element =
      found.type == GgufType::kArray ? GgufType{load<uint32_t>(found.bytes)} : found.type;
  if (found.type != GgufType::kArray || (element != GgufType::kI32 && element != GgufType::kU32)) {
    fail_type(found, "an array of 32-bit integers");
  }
  const auto data = found.bytes.subspan(sizeof(uint32_t) + sizeof(uint64_t));
  std::vector<int32_t> list(data.size() / sizeof(int32_t));
  if (!list.empty()) std::memcpy(list.data(), data.data(), data.size());
  return list;
}

std::vector<float> GgufFile::floats(std::string_view key) const {
  const GgufValue& found = value(key);
  if (found.type != GgufType::kArray || GgufType{load<uint32_t>(found.bytes)} != GgufType::kF32) {
    fail_type(found, "an array of 32-bit floats");
  }
  const auto data = found.bytes.subspan(sizeof(uint32_t) + sizeof(uint64_t));
  std::vector<float> list(data.size() / sizeof(float));
  if (!list.empty()) std::memcpy(list.data(), data.data(), data.size());
  return list;
}

const TensorView* GgufFile::find(std::string_view name) const {
  const auto tensor = tensors_.find(name);
  return tensor == tensors_.end() ? nullptr : &tensor->second;
}

}  // namespace chunkllm
