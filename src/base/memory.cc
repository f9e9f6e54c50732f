#include "base/memory.h"

#include <sys/mman.h>
#include <sys/resource.h>

#include <algorithm>
#include <cerrno>
#include <cstdlib>
#include <cstring>
#include <fstream>
#include <limits>
#include <sstream>
#include <utility>

#include "base/error.h"

namespace chunkllm {
namespace {

constexpr int64_t kNoLimit = std::numeric_limits<int64_t>::max();

// The first number in a file such as /sys/fs/cgroup/memory.max, or kNoLimit ("max", no such file).
int64_t read_number(const char* path) {
  std::ifstream file(path);
  int64_t value = 0;
  return file >> value ? value : kNoLimit;
}

// The number after `key` in a file whose lines read "key 123" or "Key:   123 kB", or `fallback`.
int64_t read_field(const char* path, const std::string& key, int64_t fallback) {
  std::ifstream file(path);
  for (std::string line; std::getline(file, line);) {
    std::istringstream words(line);
    std::string name;
    int64_t value = 0;
    if (words >> name >> value && name == key) return value;
  }
  return fallback;
}

// The value in bytes of a field in kilobytes under /proc, or kNoLimit.
int64_t read_proc_kilobytes(const char* path, const std::string& key) {
  const int64_t kilobytes = read_field(path, key, -1);
  return kilobytes < 0 ? kNoLimit : kilobytes * 1024;
}

// What the control group counts as used but gives back when asked: the cached pages of files.
int64_t reclaimable_group_bytes() {
  const char* const path = "/sys/fs/cgroup/memory.stat";
  return read_field(path, "inactive_file", 0) + read_field(path, "active_file", 0);
}

}  // namespace

int64_t available_memory_bytes() {
  int64_t available = read_proc_kilobytes("/proc/meminfo", "MemAvailable:");
  const int64_t group_limit = read_number("/sys/fs/cgroup/memory.max");
  if (group_limit != kNoLimit) {
    const int64_t used = read_number("/sys/fs/cgroup/memory.current");
    if (used != kNoLimit) {
      available = std::min(available, group_limit - used + reclaimable_group_bytes());
    }
  }
  struct rlimit limit {};
  if (::getrlimit(RLIMIT_AS, &limit) == 0 && limit.rlim_cur != RLIM_INFINITY) {
    const int64_t used = read_proc_kilobytes("/proc/self/status", "VmSize:");
    if (used != kNoLimit)
      available = std::min(available, static_cast<int64_t>(limit.rlim_cur) - used);
  }
  return std::max<int64_t>(available, 0);
}

int64_t peak_rss_bytes() {
  struct rusage usage {};
  ::getrusage(RUSAGE_SELF, &usage);
  return int64_t{usage.ru_maxrss} * 1024;
}

std::string format_bytes(int64_t n_bytes) {
  const char* const units[] = {"B", "KiB", "MiB", "GiB", "TiB", "PiB"};
  double value = static_cast<double>(n_bytes);
  size_t unit = 0;
  while (value >= 1024.0 && unit + 1 < std::size(units)) {
    value /= 1024.0;
    ++unit;
  }
  return unit == 0 ? fmt::format("{} B", n_bytes) : fmt::format("{:.1f} {}", value, units[unit]);
}

void require_memory(int64_t needed_bytes, const std::string& what, const std::string& advice) {
  const int64_t available = available_memory_bytes();
  if (needed_bytes <= available) return;
  fail(ErrorCode::kMemory, "needs {} for {}; {} available; {}", format_bytes(needed_bytes), what,
       format_bytes(available), advice);
}

ReservedBuffer::ReservedBuffer(size_t size_bytes, Pages pages) : size_bytes_(size_bytes) {
  if (size_bytes == 0) return;
  constexpr size_t kLargePage = size_t{2} << 20;
  constexpr size_t kSmallPage = 4096;
  const bool large = pages == Pages::kLarge && size_bytes >= kLargePage;
  const size_t mapped_bytes = size_bytes + (large ? kLargePage : 0);
  void* data = ::mmap(nullptr, mapped_bytes, PROT_READ | PROT_WRITE,
                      MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  if (data == MAP_FAILED) {
    fail(ErrorCode::kMemory, "cannot reserve {} of address space: {}; use a smaller context",
         format_bytes(static_cast<int64_t>(size_bytes)), std::strerror(errno));
  }
  data_ = static_cast<std::byte*>(data);
  if (!large) return;
  // Only what begins at a large page becomes one: cut off what stands before and after.
  const auto address = reinterpret_cast<uintptr_t>(data);
  const size_t before = (kLargePage - address % kLargePage) % kLargePage;
  const size_t used = (size_bytes + kSmallPage - 1) / kSmallPage * kSmallPage;
  if (before > 0) ::munmap(data_, before);
  data_ += before;
  if (before + used < mapped_bytes) ::munmap(data_ + used, mapped_bytes - before - used);
  ::madvise(data_, used, MADV_HUGEPAGE);  // a wish: the buffer works without
}

ReservedBuffer::~ReservedBuffer() {
  if (data_ != nullptr) ::munmap(data_, size_bytes_);
}

ReservedBuffer::ReservedBuffer(ReservedBuffer&& other) noexcept
    : data_(std::exchange(other.data_, nullptr)),
      size_bytes_(std::exchange(other.size_bytes_, 0)) {}

ReservedBuffer& ReservedBuffer::operator=(ReservedBuffer&& other) noexcept {
  std::swap(data_, other.data_);
  std::swap(size_bytes_, other.size_bytes_);
  return *this;
}

}  // namespace chunkllm
