#include "kernels/linear/linear.h"

#include <algorithm>
#include <limits>
#include <utility>
#include <variant>
#include <vector>

#include "base/error.h"
#include "kernels/linear/bf16_matrix.h"
#include "kernels/linear/float_matrix.h"
#include "kernels/linear/quant_matrix.h"
#include "kernels/linear/tile_product.h"
#include "kernels/machine/isa.h"
#include "kernels/machine/kernel_set.h"
#include "kernels/ops/ops.h"
#include "kernels/quant/dot.h"
#include "kernels/quant/pack.h"

namespace chunkllm {
namespace {

// Up to this many tokens, quantised weights meet int8 inputs; dequantising the weights for more
// pays.
constexpr int64_t kMaxInt8Tokens = 8;

// Tokens of one product in bfloat16 tiles: bounds the work space that inputs take.
constexpr int64_t kMaxTiledTokens = 1024;

void check_parts(std::span<const MatrixView> parts) {
  constexpr int64_t kMaxElements = std::numeric_limits<int64_t>::max() / 64;
  int64_t n_out = 0;
  for (const MatrixView& part : parts) {
    if (part.n_rows <= 0 || part.n_cols <= 0 || part.n_cols != parts.front().n_cols ||
        part.data == nullptr || part.n_rows > kMaxElements / part.n_cols - n_out) {
      fail(ErrorCode::kUnsupported,
           "cannot stack a [{}, {}] matrix on matrices of {} columns; check the model's shapes",
           part.n_rows, part.n_cols, parts.front().n_cols);
    }
    if (!is_floating(part.dtype) && !is_quantized(part.dtype)) {
      fail(ErrorCode::kUnsupported,
           "weights of type {} cannot be multiplied; use F32, F16, BF16 or a quantised type",
           dtype_name(part.dtype));
    }
    if (part.n_cols % dtype_block_elements(part.dtype) != 0) {
      fail(ErrorCode::kUnsupported,
           "rows of {} columns are no whole blocks of {}, which has {}; check the model's shapes",
           part.n_cols, dtype_name(part.dtype), dtype_block_elements(part.dtype));
    }
    n_out += part.n_rows;
  }
  if (n_out == 0) fail(ErrorCode::kUnsupported, "a product needs at least one weight matrix");
}

// Whether a matrix of the type of `a` takes `b` as well.
bool share_a_matrix(DType a, DType b) { return a == b || (is_floating(a) && is_floating(b)); }

}  // namespace

std::string_view product_type_name(ProductType type) {
  switch (type) {
    case ProductType::kF32:
      return "f32";
    case ProductType::kBf16:
      return "bf16";
  }
  return "?";
}

bool bf16_products_available() { return active_kernels().tile_product != nullptr; }

struct Linear::Impl {
  Precision precision;
  int64_t n_in = 0;
  int64_t n_out = 0;
  std::vector<std::variant<FloatMatrix, Bf16Matrix, QuantMatrix>> matrices;  // stacked by rows
  std::vector<float> bias;                                                   // [n_out], or empty

  // Calls use(matrix, the output that is its first) for the matrices of one kind.
  template <class Matrix, class Use>
  void for_each(const Use& use) const {
    int64_t first = 0;
    for (const auto& matrix : matrices) {
      if (const auto* found = std::get_if<Matrix>(&matrix)) use(*found, first);
      first += std::visit([](const auto& any) { return any.n_out(); }, matrix);
    }
  }

  template <class Matrix>
  bool has() const {
    return std::ranges::any_of(
        matrices, [](const auto& matrix) { return std::holds_alternative<Matrix>(matrix); });
  }

  void multiply(const float* x, int64_t n_tokens, float* y) const {
    for_each<FloatMatrix>([&](const FloatMatrix& matrix, int64_t first) {
      matrix.multiply(x, n_tokens, y + first, n_out);
    });
    const bool vector = n_tokens == 1;
    const bool int8 = precision.int8_decode && n_tokens <= kMaxInt8Tokens;
    if (vector) {
      for_each<Bf16Matrix>(
          [&](const Bf16Matrix& matrix, int64_t first) { matrix.multiply_vector(x, y + first); });
    }
    if (int8 && has<QuantMatrix>()) {
      const Int8Rows rows = round_to_int8(x, n_tokens, n_in);
      for_each<QuantMatrix>([&](const QuantMatrix& matrix, int64_t first) {
        matrix.multiply_int8(rows, y + first, n_out);
      });
    }
    if (precision.products != ProductType::kBf16) {
      if (int8) return;
      for_each<QuantMatrix>([&](const QuantMatrix& matrix, int64_t first) {
        matrix.multiply_f32(x, n_tokens, y + first, n_out);
      });
    } else if ((!vector && has<Bf16Matrix>()) || (!int8 && has<QuantMatrix>())) {
      for (int64_t t = 0; t < n_tokens; t += kMaxTiledTokens) {
        multiply_tiled(x + t * n_in, std::min(kMaxTiledTokens, n_tokens - t), !int8, y + t * n_out);
      }
    }
  }

  // The matrices in bfloat16 and, if asked for, those that are quantised.
  void multiply_tiled(const float* x, int64_t n_tokens, bool quantized, float* y) const {
    const TiledRows rows = round_to_tiles(x, n_tokens, n_in);
    for_each<Bf16Matrix>(
        [&](const Bf16Matrix& matrix, int64_t first) { matrix.multiply(rows, y + first, n_out); });
    if (!quantized) return;
    for_each<QuantMatrix>([&](const QuantMatrix& matrix, int64_t first) {
      matrix.multiply_bf16(rows, y + first, n_out);
    });
  }
};

Linear::Linear(std::span<const MatrixView> parts, Precision precision, std::vector<float> bias)
    : impl_(std::make_unique<Impl>()) {
  if (precision.products == ProductType::kBf16 && !bf16_products_available()) {
    fail(ErrorCode::kUnsupported,
         "bfloat16 products need avx512_bf16, this process uses {}; use float32", active_isa());
  }
  check_parts(parts);
  impl_->precision = precision;
  impl_->n_in = parts.front().n_cols;
  for (const MatrixView& part : parts) impl_->n_out += part.n_rows;
  if (!bias.empty() && static_cast<int64_t>(bias.size()) != impl_->n_out) {
    fail(ErrorCode::kInvalidArgument, "a bias of {} values cannot be added to {} outputs",
         bias.size(), impl_->n_out);
  }
  impl_->bias = std::move(bias);
  while (!parts.empty()) {
    const DType dtype = parts.front().dtype;
    size_t n = 1;
    while (n < parts.size() && share_a_matrix(dtype, parts[n].dtype)) ++n;
    if (is_quantized(dtype)) {
      impl_->matrices.emplace_back(std::in_place_type<QuantMatrix>, parts.first(n));
    } else if (precision.products == ProductType::kBf16) {
      impl_->matrices.emplace_back(std::in_place_type<Bf16Matrix>, parts.first(n));
    } else {
      impl_->matrices.emplace_back(std::in_place_type<FloatMatrix>, parts.first(n));
    }
    parts = parts.subspan(n);
  }
}

Linear::Linear() = default;
Linear::~Linear() = default;
Linear::Linear(Linear&&) noexcept = default;
Linear& Linear::operator=(Linear&&) noexcept = default;

void Linear::operator()(const float* x, int64_t n_tokens, float* y) const {
  if (n_tokens <= 0) return;
  if (!impl_) fail(ErrorCode::kInvalidArgument, "a product was asked of a Linear without weights");
  impl_->multiply(x, n_tokens, y);
  if (!impl_->bias.empty()) add_to_rows(impl_->bias.data(), n_tokens, impl_->n_out, y);
}

int64_t Linear::n_in() const { return impl_ ? impl_->n_in : 0; }
int64_t Linear::n_out() const { return impl_ ? impl_->n_out : 0; }
int64_t Linear::size_bytes() const {
  if (!impl_) return 0;
  auto n_bytes = static_cast<int64_t>(impl_->bias.size() * sizeof(float));
  for (const auto& matrix : impl_->matrices) {
    n_bytes += std::visit([](const auto& any) { return any.size_bytes(); }, matrix);
  }
  return n_bytes;
}

int64_t packed_matrix_bytes(DType dtype, int64_t n_rows, int64_t n_cols, Precision precision) {
  if (!is_quantized(dtype))
    return n_rows * n_cols * (precision.products == ProductType::kBf16 ? 2 : 4);
  const QuantUnit unit = quant_unit(dtype);
  const int64_t n_panels = (n_rows + kQuantPanelOutputs - 1) / kQuantPanelOutputs;
  const int64_t n_units = (n_cols + unit.n_inputs - 1) / unit.n_inputs;
  return n_panels * n_units * unit.bytes;
}

}  // namespace chunkllm
