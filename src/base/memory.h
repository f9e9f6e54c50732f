// What memory the machine has, and buffers that take only what they use.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>

namespace chunkllm {

// Bytes that this process may still take: the least of MemAvailable, the control group's limit and
// the process's own address-space limit.
int64_t available_memory_bytes();

// The largest resident size this process has had.
int64_t peak_rss_bytes();

// "15.7 GiB", "3.2 MiB", "17 B".
std::string format_bytes(int64_t n_bytes);

// Throws Error (kMemory) with both numbers and `advice` if fewer than `needed_bytes` are available.
// `what` reads like "the KV cache at 120000 tokens".
void require_memory(int64_t needed_bytes, const std::string& what, const std::string& advice);

// How a buffer becomes memory.
enum class Pages {
  kSmall,  // 4 KiB at a time
  // 2 MiB at a time where the system offers that: for what is used whole. Fewer misses of address
  // translation, which kernels that stream through it feel.
  kLarge,
};

// Address space that becomes memory page by page as it is first written; reads of untouched pages
// give zeros. Owns it. Aligned to a page. The constructor throws Error (kMemory).
class ReservedBuffer {
 public:
  ReservedBuffer() = default;
  explicit ReservedBuffer(size_t size_bytes, Pages pages = Pages::kSmall);
  ~ReservedBuffer();
  ReservedBuffer(ReservedBuffer&& other) noexcept;
  ReservedBuffer& operator=(ReservedBuffer&& other) noexcept;
  ReservedBuffer(const ReservedBuffer&) = delete;
  ReservedBuffer& operator=(const ReservedBuffer&) = delete;

  std::byte* data() const { return data_; }
  size_t size_bytes() const { return size_bytes_; }

 private:
  std::byte* data_ = nullptr;
  size_t size_bytes_ = 0;
};

}  // namespace chunkllm
