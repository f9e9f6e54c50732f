// A disk that is full after so many bytes: writes beyond the limit fail.
#pragma once

#include <sys/resource.h>

#include <csignal>

namespace chunkllm {

// While it lives, no file of this process can grow beyond `max_bytes` (EFBIG).
class FileSizeLimit {
 public:
  explicit FileSizeLimit(rlim_t max_bytes) : old_handler_(std::signal(SIGXFSZ, SIG_IGN)) {
    ::getrlimit(RLIMIT_FSIZE, &old_);
    const rlimit limit{max_bytes, old_.rlim_max};
    ::setrlimit(RLIMIT_FSIZE, &limit);
  }
  ~FileSizeLimit() {
    ::setrlimit(RLIMIT_FSIZE, &old_);
    std::signal(SIGXFSZ, old_handler_);
  }
  FileSizeLimit(const FileSizeLimit&) = delete;
  FileSizeLimit& operator=(const FileSizeLimit&) = delete;

 private:
  void (*old_handler_)(int);
  rlimit old_{};
};

}  // namespace chunkllm
