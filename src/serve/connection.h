// Whether a client is still there. The HTTP library says so only of answers that are being sent.
#pragma once

#include <string>

namespace chunkllm::serve {

// The socket of this process whose other end has that address and port, or -1. Valid while its
// request is handled.
int find_socket(const std::string& remote_address, int remote_port);

// Whether the other end closed the connection. False for -1.
bool has_left(int socket);

}  // namespace chunkllm::serve
