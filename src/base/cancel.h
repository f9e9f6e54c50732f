// A wish to stop, checked between steps of long work.
#pragma once

#include <atomic>

#include "base/error.h"

namespace chunkllm {

// Set by another thread; read by the work. Must outlive the work.
class CancelToken {
 public:
  void request() { requested_.store(true, std::memory_order_relaxed); }
  // Forgets a wish that was granted, so that the next work can begin.
  void reset() { requested_.store(false, std::memory_order_relaxed); }
  bool requested() const { return requested_.load(std::memory_order_relaxed); }
  // Throws Error (kInterrupted) once stopping was requested.
  void check() const {
    if (requested()) throw Error(ErrorCode::kInterrupted, "interrupted");
  }

 private:
  std::atomic<bool> requested_{false};
};

}  // namespace chunkllm
