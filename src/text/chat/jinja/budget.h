// What a template may spend: it is a stranger's program.
#pragma once

#include <cstddef>
#include <cstdint>

#include "base/error.h"

namespace chunkllm::jinja {

// Counts steps and the bytes of all values alive, and stops the rendering where one of them passes
// its limit. Must outlive the values charged to it.
class Budget {
 public:
  // `n_input_bytes`: what the values given to the template hold; more of it allows more.
  explicit Budget(size_t n_input_bytes)
      : max_steps_(kSteps + kStepsPerByte * n_input_bytes),
        max_bytes_(kBytes + kBytesPerByte * n_input_bytes),
        max_output_bytes_(kOutputBytes + kBytesPerByte * n_input_bytes) {}

  // Throws Error (kUnsupported) when the template has taken more steps than it may.
  void step(size_t n = 1) {
    n_steps_ += n;
    if (n_steps_ > max_steps_) too_much("runs for too long; a loop may be endless");
  }
  // The steps of copying so many bytes, and of searching them.
  void work(size_t n_bytes) { step(n_bytes / kBytesPerStep); }
  void search(size_t n_bytes) { step(n_bytes / kBytesSearchedPerStep); }

  // Counts bytes as alive, before they are allocated. Throws Error (kUnsupported).
  void take(size_t n_bytes) {
    work(n_bytes);
    if (n_bytes > max_bytes_ - n_bytes_) too_much("needs too much memory");
    n_bytes_ += n_bytes;
  }
  void release(size_t n_bytes) noexcept { n_bytes_ -= n_bytes; }

  // Throws Error (kUnsupported) if the output becomes longer than it may.
  void check_output(size_t n_bytes) const {
    if (n_bytes > max_output_bytes_) too_much("writes too much text");
  }

  // One level of evaluation: expressions in expressions, macros that call macros.
  void enter() {
    if (++depth_ > kDepth) too_much("nests too deeply; a macro may call itself for ever");
  }
  void leave() noexcept { --depth_; }

 private:
  static constexpr size_t kSteps = 10'000'000;
  static constexpr size_t kStepsPerByte = 64;
  static constexpr size_t kBytesPerStep = 64;
  static constexpr size_t kBytesSearchedPerStep = 8;
  static constexpr size_t kBytes = size_t{128} << 20;
  static constexpr size_t kOutputBytes = size_t{32} << 20;
  static constexpr size_t kBytesPerByte = 32;
  static constexpr int kDepth = 1000;

  [[noreturn]] static void too_much(const char* what) {
    fail(ErrorCode::kUnsupported, "the chat template {}", what);
  }

  size_t max_steps_;
  size_t max_bytes_;
  size_t max_output_bytes_;
  size_t n_steps_ = 0;
  size_t n_bytes_ = 0;
  int depth_ = 0;
};

// Enters a level for as long as it lives.
class DepthGuard {
 public:
  explicit DepthGuard(Budget& budget) : budget_(budget) {
    budget_.enter();  // counted even when it throws: nothing is left to evaluate then
  }
  ~DepthGuard() { budget_.leave(); }
  DepthGuard(const DepthGuard&) = delete;
  DepthGuard& operator=(const DepthGuard&) = delete;

 private:
  Budget& budget_;
};

}  // namespace chunkllm::jinja
