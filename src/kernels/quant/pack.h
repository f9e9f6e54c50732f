// Repacks quantised blocks of a file for the products.
#pragma once

#include <cstdint>
#include <span>

#include "base/dtype.h"
#include "kernels/quant/layout.h"

namespace chunkllm {

// Bytes of a unit of the layout, and the inputs it covers. Throws Error (kUnsupported) for a type
// that is not quantised.
struct QuantUnit {
  int64_t bytes = 0;
  int64_t n_inputs = 0;
};
QuantUnit quant_unit(DType dtype);

// Writes `parts` (quantised, all of the type and columns of `layout`), stacked by rows, to `target`
// (layout.n_panels * layout.panel_bytes bytes, all zero beforehand). Exact. Uses all
// threads.
void pack_quantized(std::span<const MatrixView> parts, const QuantPanels& layout, uint8_t* target);

}  // namespace chunkllm
