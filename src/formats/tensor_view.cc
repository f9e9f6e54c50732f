#include "formats/tensor_view.h"

#include <algorithm>
#include <cmath>

#include "base/error.h"
#include "base/json.h"

namespace chunkllm {

int64_t TensorView::n_elements() const {
  return static_cast<int64_t>(bytes.size()) / dtype_block_bytes(dtype) *
         dtype_block_elements(dtype);
}

std::string shape_text(const std::vector<int64_t>& shape) {
  std::string text = "[";
  for (const int64_t size : shape) text += fmt::format("{}{}", text.size() > 1 ? ", " : "", size);
  return text + "]";
}

int64_t tensor_bytes(DType dtype, const std::vector<int64_t>& shape) {
  const int64_t row = shape.empty() ? 1 : shape.back();
  if (row % dtype_block_elements(dtype) != 0) return -1;
  int64_t n_bytes = dtype_block_bytes(dtype);
  for (size_t i = 0; i < shape.size(); ++i) {
    const int64_t size = i + 1 == shape.size() ? row / dtype_block_elements(dtype) : shape[i];
    if (size < 0 || __builtin_mul_overflow(n_bytes, size, &n_bytes)) return -1;
  }
  return n_bytes;
}

const TensorView& require_tensor(const TensorMap& tensors, std::string_view name,
                                 const std::vector<int64_t>& shape, const std::string& file,
                                 std::string_view advice) {
  const auto found = tensors.find(name);
  if (found == tensors.end()) {
    fail(ErrorCode::kData, "{}: the tensor {} is missing; {}", file, show_text(name), advice);
  }
  const TensorView& tensor = found->second;
  if (tensor.shape != shape) {
    fail(ErrorCode::kData, "{}: tensor {} has shape {}, expected {}; {}", file,
         show_text(tensor.name), shape_text(tensor.shape), shape_text(shape), advice);
  }
  return tensor;
}

std::vector<float> tensor_floats(const TensorView& tensor, const std::string& file,
                                 std::string_view advice) {
  if (!is_floating(tensor.dtype)) {
    fail(ErrorCode::kData, "{}: tensor {} is {}, expected F32, F16 or BF16; convert it", file,
         show_text(tensor.name), dtype_name(tensor.dtype));
  }
  std::vector<float> values(static_cast<size_t>(tensor.n_elements()));
  convert_to_float(tensor.dtype, tensor.bytes.data(), tensor.n_elements(), values.data());
  const auto bad =
      std::ranges::find_if_not(values, [](float value) { return std::isfinite(value); });
  if (bad != values.end()) {
    fail(ErrorCode::kData, "{}: tensor {} holds {} at element {}; {}", file, show_text(tensor.name),
         *bad, bad - values.begin(), advice);
  }
  return values;
}

}  // namespace chunkllm
