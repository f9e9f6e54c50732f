#include "kernels/dense_matrix.h"

#include <omp.h>

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstring>
#include <oneapi/dnnl/dnnl.hpp>
#include <optional>
#include <unordered_map>
#include <utility>
#include <vector>

#include "base/error.h"
#include "base/memory.h"
#include "kernels/isa.h"
#include "kernels/matvec.h"
#include "kernels/ops.h"

namespace chunkllm {
namespace {

using dnnl::memory;
using DataType = memory::data_type;
using FormatTag = memory::format_tag;

// The number of tokens whose product decides on the packed layout: a block of a prefill.
constexpr int64_t kTypicalTokens = 512;

// Products by n_tokens that an object keeps ready. A prefill needs two: whole blocks and the last
// one.
constexpr size_t kMaxProducts = 4;

const dnnl::engine& cpu_engine() {
  active_isa();  // caps oneDNN before its first use
  static const dnnl::engine engine(dnnl::engine::kind::cpu, 0);
  return engine;
}

// A stream serves one thread at a time.
dnnl::stream& cpu_stream() {
  thread_local dnnl::stream stream(cpu_engine());
  return stream;
}

DataType data_type(ComputeType type) {
  return type == ComputeType::kBf16 ? DataType::bf16 : DataType::f32;
}

dnnl::matmul::primitive_desc product_desc(int64_t n_tokens, ComputeType type,
                                          const memory::desc& weights, int64_t y_stride) {
  const memory::dims shape = weights.dims();  // {n_in, n_out}
  const memory::desc x({n_tokens, shape[0]}, data_type(type), FormatTag::ab);
  const memory::desc y({n_tokens, shape[1]}, DataType::f32, memory::dims{y_stride, 1});
  return {dnnl::matmul::desc(x, weights, y), cpu_engine()};
}

// `desc` as panels, if that is what it is: outputs in blocks of kPanelWidth outermost, within a
// block the inputs in ascending order.
std::optional<PanelLayout> panel_layout(const memory::desc& desc, int64_t pairing) {
  const dnnl_memory_desc_t& data = desc.data;
  if (data.format_kind != dnnl_blocked || data.offset0 != 0 || data.extra.flags != 0) return {};
  const dnnl_blocking_desc_t& blocking = data.format_desc.blocking;
  // Dimension 0 is the inputs, dimension 1 the outputs: [inputs / pairing][outputs][pairing].
  constexpr int kInputs = 0;
  constexpr int kOutputs = 1;
  const bool paired = pairing > 1;
  if (blocking.inner_nblks != (paired ? 3 : 2) || blocking.inner_idxs[0] != kInputs ||
      blocking.inner_idxs[1] != kOutputs || blocking.inner_blks[1] != kPanelWidth) {
    return {};
  }
  if (paired && (blocking.inner_idxs[2] != kInputs || blocking.inner_blks[2] != pairing)) return {};
  const PanelLayout layout{.n_out = data.dims[kOutputs],
                           .n_in = data.dims[kInputs],
                           .padded_n_in = data.padded_dims[kInputs],
                           .pairing = pairing};
  const int64_t block_elements = blocking.inner_blks[0] * pairing * kPanelWidth;
  const bool contiguous = blocking.strides[kInputs] == block_elements &&
                          blocking.strides[kOutputs] == layout.panel_elements();
  if (!contiguous || data.padded_dims[kOutputs] != layout.n_panels() * kPanelWidth) return {};
  return layout;
}

// Rows of the stacked matrix, converted to float32.
class StackedRows {
 public:
  explicit StackedRows(std::span<const MatrixView> parts) : parts_(parts) {}

  // Columns [begin, begin + n) of row `row` to `target`.
  void read(int64_t row, int64_t begin, int64_t n, float* target) const {
    for (const MatrixView& part : parts_) {
      if (row < part.n_rows) {
        const int64_t at = dtype_row_bytes(part.dtype, row * part.n_cols + begin);
        convert_to_float(part.dtype, static_cast<const std::byte*>(part.data) + at, n, target);
        return;
      }
      row -= part.n_rows;
    }
  }

 private:
  std::span<const MatrixView> parts_;
};

// Writes the matrix as panels of words, a word being one float32 or two bfloat16 of adjacent
// inputs. `panels` is zero beforehand. Rows are gathered in tiles that stay in the first-level
// cache.
void pack_panels(const StackedRows& rows, const PanelLayout& layout, uint32_t* panels) {
  constexpr int64_t kTileWords = 96;
  const int64_t pairing = layout.pairing;
  const int64_t n_words = (layout.n_in + pairing - 1) / pairing;
  const int64_t panel_words = layout.panel_elements() / pairing;
  const int64_t n_panels = layout.n_panels();
#pragma omp parallel for schedule(dynamic)
  for (int64_t p = 0; p < n_panels; ++p) {
    std::array<float, 2 * kTileWords> values;
    std::array<uint32_t, kPanelWidth * kTileWords> tile;  // [kPanelWidth, kTileWords]
    const int64_t n_rows = std::min(kPanelWidth, layout.n_out - p * kPanelWidth);
    for (int64_t begin = 0; begin < n_words; begin += kTileWords) {
      const int64_t tile_words = std::min(kTileWords, n_words - begin);
      const int64_t n = std::min(tile_words * pairing, layout.n_in - begin * pairing);
      for (int64_t r = 0; r < n_rows; ++r) {
        uint32_t* tile_row = tile.data() + r * kTileWords;
        tile_row[tile_words - 1] = 0;  // half of it stays so where n_in is odd
        rows.read(p * kPanelWidth + r, begin * pairing, n, values.data());
        if (pairing == 1) {
          std::memcpy(tile_row, values.data(), static_cast<size_t>(n) * sizeof(float));
        } else {
          round_to_bf16(values.data(), n, reinterpret_cast<uint16_t*>(tile_row));
        }
      }
      uint32_t* target = panels + p * panel_words + begin * kPanelWidth;
      for (int64_t w = 0; w < tile_words; ++w, target += kPanelWidth) {
        for (int64_t r = 0; r < n_rows; ++r) target[r] = tile[r * kTileWords + w];
      }
    }
  }
}

// Bfloat16 copies of inputs. A thread's products share it; it grows to the largest input seen.
uint16_t* bf16_scratch(int64_t n) {
  thread_local std::vector<uint16_t> scratch;
  if (static_cast<int64_t>(scratch.size()) < n) scratch.resize(static_cast<size_t>(n));
  return scratch.data();
}

// Runs `work`, turning oneDNN's exceptions into Errors.
template <typename Work>
auto with_onednn_errors(const char* what, const Work& work) {
  try {
    return work();
  } catch (const dnnl::error& error) {
    const bool memory = error.status == dnnl_out_of_memory;
    fail(memory ? ErrorCode::kMemory : ErrorCode::kUnsupported, "oneDNN cannot {}: {}", what,
         error.what());
  }
}

}  // namespace

// The weights lie in panels where oneDNN has kernels for them (AVX-512 and up), else row-major.
struct DenseMatrix::Impl {
  // A product ready for one number of tokens; x and y are bound at each call.
  struct Product {
    int64_t n_tokens = 0;
    int64_t y_stride = 0;
    int n_threads = 0;  // oneDNN divides the work when the product is made
    dnnl::matmul primitive;
    memory x;
    memory y;
    std::unordered_map<int, memory> arguments;
  };

  ComputeType type = ComputeType::kF32;
  int64_t n_in = 0;
  int64_t n_out = 0;
  ReservedBuffer buffer;
  memory::desc desc;  // {n_in, n_out}
  memory weights;     // a view of `buffer`
  std::optional<PanelLayout> panels;
  std::vector<Product> products;  // most recently used first

  void pack(std::span<const MatrixView> parts) {
    const DataType element = data_type(type);
    const memory::dims shape{n_in, n_out};
    desc = product_desc(kTypicalTokens, type, memory::desc(shape, element, FormatTag::any), n_out)
               .weights_desc();
    panels = panel_layout(desc, type == ComputeType::kBf16 ? 2 : 1);
    if (!panels) desc = memory::desc(shape, element, FormatTag::ba);
    buffer = ReservedBuffer(desc.get_size(), Pages::kLarge);
    weights = memory(desc, cpu_engine(), buffer.data());
    const StackedRows rows(parts);
    if (panels) {
      pack_panels(rows, *panels, reinterpret_cast<uint32_t*>(buffer.data()));
    } else {
      pack_rows(rows);
    }
  }

  void pack_rows(const StackedRows& rows) {
    auto* target = reinterpret_cast<float*>(buffer.data());
#pragma omp parallel for schedule(static)
    for (int64_t o = 0; o < n_out; ++o) rows.read(o, 0, n_in, target + o * n_in);
  }

  Product& product(int64_t n_tokens, int64_t y_stride) {
    const int n_threads = omp_get_max_threads();
    const auto found = std::ranges::find_if(products, [&](const Product& product) {
      return product.n_tokens == n_tokens && product.y_stride == y_stride &&
             product.n_threads == n_threads;
    });
    if (found != products.end()) {
      std::rotate(products.begin(), found, found + 1);
    } else {
      if (products.size() == kMaxProducts) products.pop_back();
      products.insert(products.begin(), make_product(n_tokens, y_stride, n_threads));
    }
    return products.front();
  }

  Product make_product(int64_t n_tokens, int64_t y_stride, int n_threads) const {
    const auto pd = product_desc(n_tokens, type, desc, y_stride);
    Product product;
    product.n_tokens = n_tokens;
    product.y_stride = y_stride;
    product.n_threads = n_threads;
    product.primitive = dnnl::matmul(pd);
    product.x = memory(pd.src_desc(), cpu_engine(), DNNL_MEMORY_NONE);
    product.y = memory(pd.dst_desc(), cpu_engine(), DNNL_MEMORY_NONE);
    product.arguments = {
        {DNNL_ARG_SRC, product.x}, {DNNL_ARG_WEIGHTS, weights}, {DNNL_ARG_DST, product.y}};
    return product;
  }

  void multiply(const float* x, int64_t n_tokens, float* y, int64_t y_stride) {
    const void* input = x;
    if (type == ComputeType::kBf16) {
      uint16_t* rounded = bf16_scratch(n_tokens * n_in + 1);
      round_to_bf16(x, n_tokens * n_in, rounded);
      rounded[n_tokens * n_in] = 0;  // the partner of the last input, where their number is odd
      if (n_tokens == 1) {
        matvec_bf16(*panels, reinterpret_cast<const uint16_t*>(buffer.data()), rounded, y);
        return;
      }
      input = rounded;
    } else if (n_tokens == 1 && panels) {
      matvec_f32(*panels, reinterpret_cast<const float*>(buffer.data()), x, y);
      return;
    }
    Product& ready = product(n_tokens, y_stride);
    ready.x.set_data_handle(const_cast<void*>(input));  // only read
    ready.y.set_data_handle(y);
    ready.primitive.execute(cpu_stream(), ready.arguments);
    cpu_stream().wait();
  }
};

DenseMatrix::DenseMatrix(std::span<const MatrixView> parts, ComputeType compute_type)
    : impl_(std::make_unique<Impl>()) {
  impl_->type = compute_type;
  impl_->n_in = parts.front().n_cols;
  for (const MatrixView& part : parts) impl_->n_out += part.n_rows;
  with_onednn_errors("pack the weights", [&] { impl_->pack(parts); });
}

DenseMatrix::~DenseMatrix() = default;
DenseMatrix::DenseMatrix(DenseMatrix&&) noexcept = default;
DenseMatrix& DenseMatrix::operator=(DenseMatrix&&) noexcept = default;

void DenseMatrix::multiply(const float* x, int64_t n_tokens, float* y, int64_t y_stride) const {
  with_onednn_errors("multiply", [&] { impl_->multiply(x, n_tokens, y, y_stride); });
}

int64_t DenseMatrix::n_out() const { return impl_->n_out; }
int64_t DenseMatrix::size_bytes() const { return static_cast<int64_t>(impl_->buffer.size_bytes()); }

}  // namespace chunkllm
