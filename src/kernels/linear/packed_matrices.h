// Where packed matrices are kept from one load of a model to the next.
#pragma once

#include <cstdint>

#include "kernels/quant/layout.h"

namespace chunkllm {

// A load hands over its quantised matrices one after the other, always in the same order. One
// thread at a time.
class PackedMatrices {
 public:
  virtual ~PackedMatrices() = default;

  // What an earlier load packed of the next matrix, which has this layout (`data` aside): its
  // panels, 64-byte aligned, valid while the object lives. Null if there is none; then packed()
  // follows.
  virtual const uint8_t* find(const QuantPanels& layout) = 0;
  // The panels of that matrix, which stay valid until the load is done.
  virtual void packed(const QuantPanels& panels) = 0;
};

}  // namespace chunkllm
