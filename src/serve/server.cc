#include "serve/server.h"

#include <arpa/inet.h>
#include <httplib.h>
#include <netdb.h>
#include <openssl/crypto.h>

#include <algorithm>
#include <cctype>
#include <functional>

#include "base/error.h"
#include "base/json.h"
#include "base/memory.h"
#include "serve/completions.h"
#include "serve/inspection.h"
#include "serve/page.h"
#include "serve/reply.h"

namespace chunkllm::serve {
namespace {

constexpr int kWaitingConnections = 512;
// Of a body that is too long: whoever still sends does not hear the answer.
constexpr size_t kMostIgnoredBytes = size_t{64} << 20;

// What anybody may see.
bool is_open(const std::string& path) {
  return path == "/" || path == "/index.html" || path == "/health" || path == "/v1/health";
}

bool equals_in_constant_time(const std::string& a, const std::string& b) {
  return a.size() == b.size() && CRYPTO_memcmp(a.data(), b.data(), a.size()) == 0;
}

std::string key_of(const httplib::Request& request) {
  constexpr std::string_view kBearer = "bearer ";
  const std::string header = request.get_header_value("Authorization");
  const bool is_bearer = header.size() > kBearer.size() &&
                         std::ranges::equal(header.substr(0, kBearer.size()), kBearer, {},
                                            [](unsigned char c) { return std::tolower(c); });
  if (is_bearer) return header.substr(kBearer.size());
  return request.get_header_value("X-Api-Key");
}

// "localhost" of "http://localhost:8080", "::1" of "[::1]:8080".
std::string host_of(std::string_view address) {
  const size_t scheme = address.find("://");
  if (scheme != address.npos) address.remove_prefix(scheme + 3);
  if (address.starts_with("[")) return std::string(address.substr(1, address.find(']') - 1));
  return std::string(address.substr(0, address.find(':')));
}

bool is_loopback(const std::string& host) {
  in_addr v4;
  if (::inet_pton(AF_INET, host.c_str(), &v4) == 1) return ntohl(v4.s_addr) >> 24 == 127;
  return host == "localhost" || host == "::1";
}

// Throws Error (kInvalidArgument) for what is neither an address nor the name of one.
void check_host(const std::string& host) {
  addrinfo* found = nullptr;
  const int error = ::getaddrinfo(host.c_str(), nullptr, nullptr, &found);
  if (error == EAI_NONAME) {
    fail(ErrorCode::kInvalidArgument, "--host {}: {}; give an address of this machine",
         show_text(host), ::gai_strerror(error));
  }
  if (error == 0) ::freeaddrinfo(found);
}

void set_reply(httplib::Response& response, const std::pair<int, nlohmann::ordered_json>& reply) {
  response.status = reply.first;
  response.set_content(to_text(reply.second), "application/json");
}

// Of the body, as far as the head says; -1: it says nonsense, for which the library would wait.
int64_t length_of(const httplib::Request& request) {
  const size_t n_lengths = request.get_header_value_count("Content-Length");
  if (n_lengths == 0) return 0;
  if (n_lengths > 1 || request.has_header("Transfer-Encoding")) return -1;
  const std::string length = request.get_header_value("Content-Length");
  constexpr size_t kMostDigits = 18;
  const bool is_number = !length.empty() && length.size() <= kMostDigits &&
                         std::ranges::all_of(length, [](char c) { return c >= '0' && c <= '9'; });
  return is_number ? std::stoll(length) : -1;
}

void erase_all(std::string& text, std::string_view part) {
  for (size_t at = 0; (at = text.find(part, at)) != text.npos;) text.erase(at, part.size());
}

// The header that says that the body is none that is read; null: there is none.
const char* unread_header(const httplib::Request& request) {
  const std::string encoding = request.get_header_value("Content-Encoding");
  if (!encoding.empty() && encoding != "identity") return "Content-Encoding";
  return request.is_multipart_form_data() ? "Content-Type" : nullptr;
}

}  // namespace

struct Server::Impl {
  Impl(const RequestContext& request_context, Scheduler& request_scheduler,
       const ServerOptions& server_options)
      : context(request_context), scheduler(request_scheduler), options(server_options) {}

  void make_http();
  void add_guards();
  void add_routes();
  void add_inspection();
  void add_completion(const std::string& path, Dialect dialect);
  // Handles a request whose body is read first, as far as it may be long.
  using Handler = std::function<void(const httplib::Request&, httplib::Response&)>;
  httplib::Server::HandlerWithContentReader with_body(Handler handler) const;
  bool may_ask(const httplib::Request& request) const;
  bool is_of_own_page(const httplib::Request& request) const;

  const RequestContext& context;
  Scheduler& scheduler;
  ServerOptions options;
  std::unique_ptr<httplib::Server> http;
  int port = 0;
  int listener = -1;  // the socket that listens
};

void Server::Impl::make_http() {
  if (options.certificate.empty()) {
    http = std::make_unique<httplib::Server>();
  } else {
    http = std::make_unique<httplib::SSLServer>(options.certificate.c_str(),
                                                options.private_key.c_str());
    if (!http->is_valid()) {
      fail(ErrorCode::kIo, "cannot use the certificate {} with the key {}; both must be PEM files",
           options.certificate.string(), options.private_key.string());
    }
  }
  const auto n_threads = static_cast<size_t>(options.max_connections);
  http->new_task_queue = [n_threads] { return new httplib::ThreadPool(n_threads); };
  http->set_payload_max_length(static_cast<size_t>(options.max_body_bytes));
  http->set_keep_alive_max_count(1 << 20);
  http->set_read_timeout(30);
  http->set_write_timeout(30);
  http->set_tcp_nodelay(true);
  // The library's own options let a second server share the port.
  http->set_socket_options([this](socket_t socket) {
    const int yes = 1;
    listener = socket;
    ::setsockopt(socket, SOL_SOCKET, SO_REUSEADDR, &yes, sizeof(yes));
  });
}

bool Server::Impl::may_ask(const httplib::Request& request) const {
  if (options.api_keys.empty() || is_open(request.path) || request.method == "OPTIONS") return true;
  const std::string key = key_of(request);
  bool is_known = false;  // looks at all of them, so that time tells nothing
  for (const std::string& known : options.api_keys) {
    is_known = equals_in_constant_time(key, known) || is_known;
  }
  return is_known;
}

// Browsers say which page asks, if it is one: nobody else's may, though its request would be simple
// enough to need no leave. At a loopback address names of other hosts are another page's, too.
bool Server::Impl::is_of_own_page(const httplib::Request& request) const {
  const std::string origin = request.get_header_value("Origin");
  if (origin.empty() || options.cors_origin == "*" || origin == options.cors_origin) return true;
  const std::string host = host_of(origin);
  if (is_loopback(host_of(options.host))) return is_loopback(host);
  return host == host_of(request.get_header_value("Host"));
}

void Server::Impl::add_guards() {
  using Handled = httplib::Server::HandlerResponse;
  http->set_pre_routing_handler([this](const httplib::Request& request,
                                       httplib::Response& response) {
    if (length_of(request) > options.max_body_bytes) {
      response.set_header("Connection", "close");
      response.status = 413;
      return Handled::Handled;
    }
    if (length_of(request) < 0) {
      response.set_header("Connection", "close");  // where the next request begins nobody knows
      set_reply(response, {400, error_json(400, "invalid_request_error",
                                           "Content-Length is no number of bytes")});
      return Handled::Handled;
    }
    if (const char* header = unread_header(request)) {
      response.set_header("Connection", "close");
      set_reply(response, {415, error_json(415, "invalid_request_error",
                                           fmt::format("a body of {} {} is not read; send JSON "
                                                       "as it is",
                                                       header, request.get_header_value(header)))});
      return Handled::Handled;
    }
    if (!options.cors_origin.empty()) {
      response.set_header("Access-Control-Allow-Origin", options.cors_origin);
      response.set_header("Access-Control-Allow-Headers", "Authorization, Content-Type");
      response.set_header("Access-Control-Allow-Methods", "GET, POST, PUT, OPTIONS");
    }
    if (!is_of_own_page(request)) {
      set_reply(response, {403, error_json(403, "permission_error",
                                           "another web page asks; start the server with "
                                           "--cors-origin to let it")});
      return Handled::Handled;
    }
    if (may_ask(request)) return Handled::Unhandled;
    set_reply(response, {401, error_json(401, "authentication_error",
                                         "the API key is missing or wrong; send it as "
                                         "Authorization: Bearer KEY")});
    return Handled::Handled;
  });
  http->set_error_handler([this](const httplib::Request& request, httplib::Response& response) {
    if (!response.body.empty()) return;
    const int status = response.status;
    const std::string what = status == 404   ? "there is no " + request.method + " " + request.path
                             : status == 413 ? fmt::format(
                                                   "the request's body is larger than {}, which "
                                                   "--max-body-mib sets",
                                                   format_bytes(options.max_body_bytes))
                             : status == 414 ? "the request's address is too long"
                                             : "the request is not valid HTTP";
    set_reply(
        response,
        {status,
         error_json(status, status == 404 ? "not_found_error" : "invalid_request_error", what)});
  });
  http->set_exception_handler([this](const httplib::Request&, httplib::Response& response,
                                     const std::exception_ptr& exception) {
    try {
      std::rethrow_exception(exception);
    } catch (const Error& error) {
      auto reply = error_reply(error);
      // What a file of the server's is called is told, not where it is.
      const std::string folder = context.engine.options().model.parent_path().string();
      auto& message = reply.second["error"]["message"].get_ref<std::string&>();
      if (!folder.empty()) erase_all(message, folder + "/");
      set_reply(response, reply);
    } catch (const std::exception& error) {
      set_reply(response, {500, error_json(500, "server_error", error.what())});
    }
  });
}

// The library's own reading knows no limit for bodies that come in chunks, and waits for bodies
// that are not there.
httplib::Server::HandlerWithContentReader Server::Impl::with_body(Handler handler) const {
  return [this, handler = std::move(handler)](const httplib::Request& request,
                                              httplib::Response& response,
                                              const httplib::ContentReader& read) {
    httplib::Request whole = request;
    const auto most = static_cast<size_t>(options.max_body_bytes);
    size_t n_bytes = 0;
    const auto take = [&](const char* data, size_t n) {
      n_bytes += n;
      if (n_bytes <= most) whole.body.append(data, n);
      return n_bytes <= most + kMostIgnoredBytes;
    };
    const bool has_body =
        request.has_header("Content-Length") || request.has_header("Transfer-Encoding");
    if (!has_body || (read(take) && n_bytes <= most)) return handler(whole, response);
    response.set_header("Connection", "close");
    response.status = n_bytes > most ? 413 : 400;
  };
}

void Server::Impl::add_completion(const std::string& path, Dialect dialect) {
  const auto handler = [this, dialect](const httplib::Request& request,
                                       httplib::Response& response) {
    complete(context, scheduler, dialect, request, response);
  };
  if (dialect == Dialect::kRuler) {
    http->Put(path, with_body(handler));
  } else {
    http->Post(path, with_body(handler));
  }
}

void Server::Impl::add_inspection() {
  using Json = nlohmann::ordered_json;
  const auto get = [this](const char* path, Json (*what)(const RequestContext&, Scheduler&)) {
    http->Get(path, [this, what](const httplib::Request&, httplib::Response& response) {
      set_reply(response, {200, what(context, scheduler)});
    });
  };
  get("/v1/models", models_json);
  get("/models", models_json);
  http->Get(R"(/v1/models/(.+))",
            [this](const httplib::Request& request, httplib::Response& response) {
              if (request.matches[1] != context.model_name) {
                set_reply(response, {404, error_json(404, "not_found_error",
                                                     "there is no such model; see /v1/models")});
                return;
              }
              set_reply(response, {200, models_json(context, scheduler)["data"][0]});
            });
  get("/props", props_json);
  get("/slots", slots_json);
  get("/tokenizer_info", tokenizer_json);
  const auto post = [this](const char* path, Json (*what)(const RequestContext&, const Json&)) {
    http->Post(
        path, with_body([this, what](const httplib::Request& request, httplib::Response& response) {
          set_reply(response, {200, what(context, parse_body(request.body))});
        }));
  };
  post("/tokenize", tokenize);
  post("/detokenize", detokenize);
  post("/apply-template", apply_template);
  http->Post(R"(/slots/(\d+))",
             with_body([this](const httplib::Request& request, httplib::Response& response) {
               const Json body = request.body.empty() ? Json::object() : parse_body(request.body);
               set_reply(response, {200, act_on_slot(context, scheduler, request.matches[1],
                                                     request.get_param_value("action"),
                                                     options.slot_folder, body)});
             }));
  for (const char* path : {"/health", "/v1/health"}) {
    http->Get(path, [](const httplib::Request&, httplib::Response& response) {
      response.set_content(R"({"status":"ok"})", "application/json");
    });
  }
  http->Get("/metrics", [this](const httplib::Request&, httplib::Response& response) {
    response.set_content(metrics_text(scheduler.metrics()), "text/plain; version=0.0.4");
  });
}

void Server::Impl::add_routes() {
  add_completion("/v1/completions", Dialect::kCompletion);
  add_completion("/completions", Dialect::kCompletion);
  add_completion("/v1/chat/completions", Dialect::kChat);
  add_completion("/chat/completions", Dialect::kChat);
  add_completion("/completion", Dialect::kNative);
  add_completion("/generate", Dialect::kRuler);
  add_inspection();
  for (const char* path : {"/", "/index.html"}) {
    http->Get(path, [](const httplib::Request&, httplib::Response& response) {
      response.set_header("Content-Security-Policy",
                          "default-src 'none'; style-src 'unsafe-inline'; script-src "
                          "'unsafe-inline'; connect-src 'self'");
      response.set_content(std::string(page_html()), "text/html; charset=utf-8");
    });
  }
  http->Options(
      ".*", [](const httplib::Request&, httplib::Response& response) { response.status = 204; });
}

Server::Server(const RequestContext& context, Scheduler& scheduler, const ServerOptions& options)
    : impl_(std::make_unique<Impl>(context, scheduler, options)) {
  check_host(options.host);
  impl_->make_http();
  impl_->add_guards();
  impl_->add_routes();
  httplib::Server& http = *impl_->http;
  impl_->port = options.port;
  if (options.port == 0) {
    impl_->port = http.bind_to_any_port(options.host);
  } else if (!http.bind_to_port(options.host, options.port)) {
    impl_->port = -1;
  }
  if (impl_->port <= 0) {
    fail(ErrorCode::kIo,
         "cannot listen on {}:{}; is the port in use, or the host not this machine's? Try another "
         "--port",
         options.host, options.port);
  }
  if (!options.slot_folder.empty()) remove_half_saved_slots(options.slot_folder);
  // The library's own queue of connections that wait has room for five.
  ::listen(impl_->listener, kWaitingConnections);
}

Server::~Server() = default;

std::string Server::address() const {
  const bool is_v6 = impl_->options.host.find(':') != std::string::npos;
  return fmt::format("{}://{}{}{}:{}", impl_->options.certificate.empty() ? "http" : "https",
                     is_v6 ? "[" : "", impl_->options.host, is_v6 ? "]" : "", impl_->port);
}

void Server::run() {
  if (!impl_->http->listen_after_bind()) {
    fail(ErrorCode::kIo, "the server at {} ended by an error of the network", address());
  }
}

void Server::stop() { impl_->http->stop(); }

}  // namespace chunkllm::serve
