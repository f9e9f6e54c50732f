#include "serve/connection.h"

#include <netdb.h>
#include <poll.h>
#include <sys/resource.h>
#include <sys/socket.h>

#include <algorithm>
#include <charconv>
#include <filesystem>
#include <system_error>

namespace chunkllm::serve {
namespace {

bool is_other_end(int socket, const std::string& address, int port) {
  sockaddr_storage other = {};
  socklen_t size = sizeof(other);
  auto* where = reinterpret_cast<sockaddr*>(&other);
  if (::getpeername(socket, where, &size) != 0) return false;
  char host[NI_MAXHOST];
  char service[NI_MAXSERV];
  const int flags = NI_NUMERICHOST | NI_NUMERICSERV;
  if (::getnameinfo(where, size, host, sizeof(host), service, sizeof(service), flags) != 0) {
    return false;
  }
  return address == host && std::to_string(port) == service;
}

}  // namespace

int find_socket(const std::string& remote_address, int remote_port) {
  std::error_code error;
  for (const auto& entry : std::filesystem::directory_iterator("/proc/self/fd", error)) {
    const std::string name = entry.path().filename().string();
    int descriptor = -1;
    std::from_chars(name.data(), name.data() + name.size(), descriptor);
    if (descriptor >= 0 && is_other_end(descriptor, remote_address, remote_port)) return descriptor;
  }
  return -1;
}

bool has_left(int socket) {
  if (socket < 0) return false;
  pollfd state = {.fd = socket, .events = POLLRDHUP, .revents = 0};
  return ::poll(&state, 1, 0) > 0 && (state.revents & (POLLRDHUP | POLLHUP | POLLERR)) != 0;
}

}  // namespace chunkllm::serve
