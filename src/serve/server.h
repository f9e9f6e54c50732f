// The HTTP server: OpenAI's completions, and what their clients expect beside them.
#pragma once

#include <chrono>
#include <cstdint>
#include <filesystem>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "serve/request.h"
#include "serve/scheduler.h"

namespace chunkllm::serve {

struct ServerOptions {
  std::string host = "127.0.0.1";
  int port = 8080;                         // 0: one that is free
  std::vector<std::string> api_keys = {};  // empty: everybody may ask
  std::filesystem::path certificate = {};  // PEM; empty: HTTP without TLS
  std::filesystem::path private_key = {};
  std::string cors_origin = {};            // Access-Control-Allow-Origin; empty: none
  std::filesystem::path slot_folder = {};  // for files of slots; empty: none are saved
  int64_t max_body_bytes = int64_t{64} << 20;
  int64_t max_connections = 256;
};

// Serves on threads of its own; the scheduler answers. Refers to both arguments of the constructor,
// which must outlive it.
class Server {
 public:
  // Binds the address. Throws Error (kIo) if that cannot be had, or the certificate not be used.
  Server(const RequestContext& context, Scheduler& scheduler, const ServerOptions& options);
  ~Server();
  Server(const Server&) = delete;
  Server& operator=(const Server&) = delete;

  // "http://127.0.0.1:8080"
  std::string address() const;
  // Answers until stop(), which any thread may call. Throws Error (kIo).
  void run();
  // Accepts nothing more and ends run() once what runs has its answer.
  void stop();

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace chunkllm::serve
