// Work space of a thread.
#pragma once

#include <cstdint>

#include "base/memory.h"

namespace chunkllm {

// Uninitialised memory, aligned to a page, that grows to the largest size asked for. Owns it. To be
// declared thread_local.
template <typename Element>
class Scratch {
 public:
  // Room for `n` elements, valid until the next call. Throws Error (kMemory).
  Element* get(int64_t n) {
    constexpr size_t kLargePage = size_t{2} << 20;
    const size_t n_bytes = static_cast<size_t>(n) * sizeof(Element);
    if (buffer_.size_bytes() < n_bytes) {
      const size_t rounded = (n_bytes + kLargePage - 1) / kLargePage * kLargePage;
      buffer_ = ReservedBuffer(rounded, Pages::kLarge);
    }
    return reinterpret_cast<Element*>(buffer_.data());
  }

 private:
  ReservedBuffer buffer_;
};

}  // namespace chunkllm
