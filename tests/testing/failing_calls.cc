#include "testing/failing_calls.h"

#include <dlfcn.h>

#include <atomic>
#include <cerrno>

namespace chunkllm {
namespace {

std::atomic<bool> g_counting = false;
std::atomic<int> g_n_calls = 0;
std::atomic<int> g_fail_at = -1;
std::atomic<int> g_error = 0;

// Whether this call is the one to fail.
bool fails_now() {
  if (!g_counting || g_n_calls++ != g_fail_at) return false;
  errno = g_error;
  return true;
}

template <class Function>
Function* real(const char* name) {
  return reinterpret_cast<Function*>(::dlsym(RTLD_NEXT, name));
}

}  // namespace

FailingCalls::FailingCalls(int at, int error) {
  g_n_calls = 0;
  g_fail_at = at;
  g_error = error;
  g_counting = true;
}

FailingCalls::~FailingCalls() { g_counting = false; }

int FailingCalls::n_calls() const { return g_n_calls; }

}  // namespace chunkllm

// These stand before the C library's.
extern "C" {

ssize_t write(int fd, const void* bytes, size_t n) {
  static auto* const real_write = chunkllm::real<ssize_t(int, const void*, size_t)>("write");
  if (!chunkllm::fails_now()) return real_write(fd, bytes, n);
  const int error = errno;
  [[maybe_unused]] const ssize_t torn = real_write(fd, bytes, n / 2);
  errno = error;
  return -1;
}

int fsync(int fd) {
  static auto* const real_fsync = chunkllm::real<int(int)>("fsync");
  return chunkllm::fails_now() ? -1 : real_fsync(fd);
}

int rename(const char* from, const char* to) noexcept {
  static auto* const real_rename = chunkllm::real<int(const char*, const char*)>("rename");
  return chunkllm::fails_now() ? -1 : real_rename(from, to);
}
}
