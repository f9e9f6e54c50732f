// Tensors as they lie in a mapped file of weights, whatever its format.
#pragma once

#include <cstdint>
#include <map>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/dtype.h"
#include "base/error.h"

namespace chunkllm {

// A tensor in a mapped file, owned by the object that maps it. Rows are contiguous, the last
// dimension of `shape` being that of a row; data may be unaligned.
struct TensorView {
  std::string name;
  DType dtype = DType::kF32;
  std::vector<int64_t> shape;
  std::span<const uint8_t> bytes;

  int64_t n_elements() const;
};

// By name.
using TensorMap = std::map<std::string, TensorView, std::less<>>;

// "[2, 3]".
std::string shape_text(const std::vector<int64_t>& shape);

// The bytes that a tensor takes, or -1 where that does not fit into 64 bits, where a size is
// negative, or where rows are no whole blocks of a quantised type.
int64_t tensor_bytes(DType dtype, const std::vector<int64_t>& shape);

// The tensor `name`. Throws Error (kData) naming `file` if it is missing or its shape is another
// one; `advice` ends the message.
inline constexpr std::string_view kCheckItsModel = "check that the file belongs to this model";
const TensorView& require_tensor(const TensorMap& tensors, std::string_view name,
                                 const std::vector<int64_t>& shape, const std::string& file,
                                 std::string_view advice = kCheckItsModel);

// The tensor as float32. Throws Error (kData) naming `file` if it holds integers or blocks, or a
// value that is NaN or infinite; of such a value `advice` ends the message.
std::vector<float> tensor_floats(const TensorView& tensor, const std::string& file,
                                 std::string_view advice = kGetFileAgain);

}  // namespace chunkllm
