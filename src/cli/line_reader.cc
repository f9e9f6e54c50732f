#include "cli/line_reader.h"

#include <poll.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <cstring>
#include <utility>

#include "base/error.h"

namespace chunkllm::cli {

// A blocking read would not let Ctrl-C end the wait.
bool LineReader::read_more() {
  constexpr int kPollMilliseconds = 100;
  std::array<char, 65536> bytes;
  while (true) {
    cancel_.check();
    pollfd input{STDIN_FILENO, POLLIN, 0};
    if (::poll(&input, 1, kPollMilliseconds) <= 0) continue;
    const ssize_t n = ::read(STDIN_FILENO, bytes.data(), bytes.size());
    if (n == 0) return false;
    if (n > 0) {
      buffer_.append(bytes.data(), static_cast<size_t>(n));
      return true;
    }
    if (errno != EINTR && errno != EAGAIN) {
      fail(ErrorCode::kIo, "cannot read standard input: {}; check where standard input comes from",
           std::strerror(errno));
    }
  }
}

std::optional<std::string> LineReader::line() {
  size_t searched = 0;
  while (true) {
    if (const size_t end = buffer_.find('\n', searched); end != std::string::npos) {
      std::string line = buffer_.substr(0, end);
      buffer_.erase(0, end + 1);
      if (line.ends_with('\r')) line.pop_back();
      return line;
    }
    searched = buffer_.size();
    if (read_more()) continue;
    if (buffer_.empty()) return std::nullopt;
    return std::exchange(buffer_, {});
  }
}

std::string LineReader::rest() {
  while (read_more()) {
  }
  return std::exchange(buffer_, {});
}

}  // namespace chunkllm::cli
