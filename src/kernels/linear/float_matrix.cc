#include "kernels/linear/float_matrix.h"

#include <omp.h>

#include <algorithm>
#include <cstddef>
#include <oneapi/dnnl/dnnl.hpp>
#include <optional>
#include <unordered_map>
#include <utility>
#include <vector>

#include "base/error.h"
#include "base/memory.h"
#include "base/scratch.h"
#include "base/thread_pool.h"
#include "kernels/linear/matvec.h"
#include "kernels/linear/panel_pack.h"
#include "kernels/machine/isa.h"

namespace chunkllm {
namespace {

using dnnl::memory;
using DataType = memory::data_type;
using FormatTag = memory::format_tag;

// The number of tokens whose product decides on the packed layout: a block of a prefill.
constexpr int64_t kTypicalTokens = 512;

// Tokens that one thread multiplies at a time, and of a product of fewer than kManyTokens.
constexpr int64_t kBlockTokens = 64;
constexpr int64_t kSmallBlockTokens = 16;
constexpr int64_t kManyTokens = 256;

// Products by n_tokens that an object keeps ready. A prefill needs four: blocks of both lengths,
// and what its last passes leave.
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

dnnl::matmul::primitive_desc product_desc(int64_t n_tokens, const memory::desc& weights,
                                          int64_t y_stride) {
  const memory::dims shape = weights.dims();  // {n_in, n_out}
  const memory::desc x({n_tokens, shape[0]}, DataType::f32, FormatTag::ab);
  const memory::desc y({n_tokens, shape[1]}, DataType::f32, memory::dims{y_stride, 1});
  dnnl::primitive_attr attributes;
  attributes.set_scratchpad_mode(dnnl::scratchpad_mode::user);
  omp_set_num_threads(1);  // oneDNN divides the work when a product is made
  return {dnnl::matmul::desc(x, weights, y), attributes, cpu_engine()};
}

// The panels of kPanelWidth outputs that oneDNN calls BA16a64b: outputs outermost, within a panel
// the inputs in ascending order, padded to a multiple of 16.
memory::desc panel_desc(const memory::dims& shape) {
  static_assert(kPanelWidth == 64);
  return {shape, DataType::f32, FormatTag::BA16a64b};
}

PanelLayout panel_layout(int64_t n_in, int64_t n_out) {
  constexpr int64_t kInputs = 16;
  return {.n_out = n_out,
          .n_in = n_in,
          .padded_n_in = (n_in + kInputs - 1) / kInputs * kInputs,
          .pairing = 1,
          .width = kPanelWidth};
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
struct FloatMatrix::Impl {
  // A product ready for one number of tokens. Any thread may run it: it brings x, y and work space.
  struct Product {
    int64_t n_tokens = 0;
    int64_t y_stride = 0;
    dnnl::matmul primitive;
    memory::desc x;
    memory::desc y;
    memory::desc scratchpad;
  };

  int64_t n_in = 0;
  int64_t n_out = 0;
  ReservedBuffer buffer;
  memory::desc desc;  // {n_in, n_out}
  memory weights;     // a view of `buffer`
  std::optional<PanelLayout> panels;
  std::vector<Product> products;  // most recently used first

  void pack(std::span<const MatrixView> parts) {
    const memory::dims shape{n_in, n_out};
    const memory::desc any(shape, DataType::f32, FormatTag::any);
    desc = product_desc(kTypicalTokens, any, n_out).weights_desc();
    if (desc == panel_desc(shape)) {
      panels = panel_layout(n_in, n_out);
    } else {
      desc = memory::desc(shape, DataType::f32, FormatTag::ba);
    }
    buffer = ReservedBuffer(desc.get_size(), Pages::kLarge);
    weights = memory(desc, cpu_engine(), buffer.data());
    if (panels) {
      pack_panels(parts, *panels, reinterpret_cast<uint32_t*>(buffer.data()));
      return;
    }
    auto* target = reinterpret_cast<float*>(buffer.data());
    parallel_for(n_out, 16, [&](int64_t begin, int64_t end, int) {
      for (int64_t o = begin; o < end; ++o) read_stacked(parts, o, 0, n_in, target + o * n_in);
    });
  }

  Product& product(int64_t n_tokens, int64_t y_stride) {
    const auto found = std::ranges::find_if(products, [&](const Product& product) {
      return product.n_tokens == n_tokens && product.y_stride == y_stride;
    });
    if (found != products.end()) {
      std::rotate(products.begin(), found, found + 1);
    } else {
      if (products.size() == kMaxProducts) products.pop_back();
      products.insert(products.begin(), make_product(n_tokens, y_stride));
    }
    return products.front();
  }

  Product make_product(int64_t n_tokens, int64_t y_stride) const {
    const auto pd = product_desc(n_tokens, desc, y_stride);
    Product product;
    product.n_tokens = n_tokens;
    product.y_stride = y_stride;
    product.primitive = dnnl::matmul(pd);
    product.x = pd.src_desc();
    product.y = pd.dst_desc();
    product.scratchpad = pd.scratchpad_desc();
    return product;
  }

  void multiply(const float* x, int64_t n_tokens, float* y, int64_t y_stride) {
    if (n_tokens == 1 && panels) {
      matvec_f32(*panels, reinterpret_cast<const float*>(buffer.data()), x, y);
      return;
    }
    // Blocks of tokens, each on one thread, so that oneDNN's threads wait for nobody.
    const int64_t block = n_tokens >= kManyTokens ? kBlockTokens : kSmallBlockTokens;
    const int64_t n_blocks = n_tokens / block;
    const auto run = [&](const Product& ready, int64_t first) {
      run_product(ready, x + first * n_in, y + first * y_stride);
    };
    if (n_blocks > 0) {
      const Product& whole = product(block, y_stride);
      parallel_for(n_blocks, 1, [&](int64_t b, int64_t, int) { run(whole, b * block); });
    }
    const int64_t n_done = n_blocks * block;
    if (n_done < n_tokens) run(product(n_tokens - n_done, y_stride), n_done);
  }

  void run_product(const Product& ready, const float* x, float* y) const {
    thread_local Scratch<std::byte> scratch;
    omp_set_num_threads(1);
    void* work_space = scratch.get(static_cast<int64_t>(ready.scratchpad.get_size()) + 1);
    const std::unordered_map<int, memory> arguments = {
        {DNNL_ARG_SRC, memory(ready.x, cpu_engine(), const_cast<float*>(x))},  // only read
        {DNNL_ARG_WEIGHTS, weights},
        {DNNL_ARG_DST, memory(ready.y, cpu_engine(), y)},
        {DNNL_ARG_SCRATCHPAD, memory(ready.scratchpad, cpu_engine(), work_space)}};
    ready.primitive.execute(cpu_stream(), arguments);
    cpu_stream().wait();
  }
};

FloatMatrix::FloatMatrix(std::span<const MatrixView> parts) : impl_(std::make_unique<Impl>()) {
  impl_->n_in = parts.front().n_cols;
  for (const MatrixView& part : parts) impl_->n_out += part.n_rows;
  with_onednn_errors("pack the weights", [&] { impl_->pack(parts); });
}

FloatMatrix::~FloatMatrix() = default;
FloatMatrix::FloatMatrix(FloatMatrix&&) noexcept = default;
FloatMatrix& FloatMatrix::operator=(FloatMatrix&&) noexcept = default;

void FloatMatrix::multiply(const float* x, int64_t n_tokens, float* y, int64_t y_stride) const {
  with_onednn_errors("multiply", [&] { impl_->multiply(x, n_tokens, y, y_stride); });
}

int64_t FloatMatrix::size_bytes() const { return static_cast<int64_t>(impl_->buffer.size_bytes()); }

}  // namespace chunkllm
