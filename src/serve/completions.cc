#include "serve/completions.h"

#include <memory>

#include "serve/connection.h"

namespace chunkllm::serve {
namespace {

using Json = nlohmann::ordered_json;

constexpr std::chrono::milliseconds kLook{200};  // between two looks at whether the client is there
constexpr std::chrono::seconds kPing{5};         // of silence in a stream

// A request on its way. Nobody waits for its jobs any more once it is gone.
class Exchange {
 public:
  Exchange(const RequestContext& context, CompletionRequest request, int socket)
      : request_(std::move(request)), reply_(context, request_), socket_(socket) {}
  ~Exchange() {
    for (const auto& job : request_.jobs) job->is_cancelled = true;
  }
  Exchange(const Exchange&) = delete;
  Exchange& operator=(const Exchange&) = delete;

  const CompletionRequest& request() const { return request_; }
  Reply& reply() { return reply_; }
  bool client_has_left() const { return has_left(socket_); }
  std::optional<Event> wait() { return request_.mailbox->wait(kLook); }

 private:
  CompletionRequest request_;
  Reply reply_;
  int socket_;
};

void answer_whole(Exchange& exchange, httplib::Response& response) {
  Clock::time_point looked = Clock::now();
  while (!exchange.reply().is_done()) {
    const std::optional<Event> event = exchange.wait();
    if (Clock::now() - looked >= kLook) {
      looked = Clock::now();
      if (exchange.client_has_left()) return;
    }
    if (!event) continue;
    if (event->kind == Event::Kind::kFailed) {
      const auto [status, json] = error_reply(*event);
      response.status = status;
      response.set_content(to_text(json), "application/json");
      return;
    }
    exchange.reply().take(*event);
  }
  response.set_content(to_text(exchange.reply().whole()), "application/json");
}

// The events of one answer as server-sent events.
class Stream {
 public:
  explicit Stream(std::shared_ptr<Exchange> exchange) : exchange_(std::move(exchange)) {}

  // Sends what there is next; false: the client has left.
  bool send(httplib::DataSink& sink) {
    const std::optional<Event> event = exchange_->wait();
    if (!event) {
      if (exchange_->client_has_left()) return false;
      if (Clock::now() - last_sent_ < kPing) return true;
      return write(sink, ": ping\n\n");
    }
    if (event->kind == Event::Kind::kFailed) {
      return write(sink, piece(error_reply(*event).second)) && end(sink);
    }
    std::string text;
    for (const Json& json : exchange_->reply().take(*event)) text += piece(json);
    if (exchange_->reply().is_done()) {
      if (const auto usage = exchange_->reply().usage_piece()) text += piece(*usage);
      return write(sink, text) && end(sink);
    }
    return text.empty() || write(sink, text);
  }

 private:
  static std::string piece(const Json& json) { return "data: " + to_text(json) + "\n\n"; }

  bool write(httplib::DataSink& sink, const std::string& text) {
    last_sent_ = Clock::now();
    return sink.write(text.data(), text.size());
  }

  bool end(httplib::DataSink& sink) {
    const bool is_native = exchange_->request().dialect == Dialect::kNative;
    if (!is_native && !write(sink, "data: [DONE]\n\n")) return false;
    sink.done();
    return true;
  }

  std::shared_ptr<Exchange> exchange_;
  Clock::time_point last_sent_ = Clock::now();
};

}  // namespace

std::string to_text(const Json& json) {
  return json.dump(-1, ' ', false, Json::error_handler_t::replace);
}

void complete(const RequestContext& context, Scheduler& scheduler, Dialect dialect,
              const httplib::Request& request, httplib::Response& response) {
  const auto exchange =
      std::make_shared<Exchange>(context, parse_request(context, dialect, request.body),
                                 find_socket(request.remote_addr, request.remote_port));
  const int64_t n_jobs = std::ssize(exchange->request().jobs);
  const int64_t most_jobs = scheduler.options().n_slots + scheduler.options().max_queued;
  if (n_jobs > most_jobs) {
    fail(ErrorCode::kInvalidArgument,
         "the request asks for {} answers, and the server takes {} at a time; send fewer", n_jobs,
         most_jobs);
  }
  if (!scheduler.submit(exchange->request().jobs)) {
    response.status = 503;
    response.set_header("Retry-After", "5");
    response.set_content(to_text(error_json(503, "unavailable_error",
                                            "too many requests wait already, or the server is "
                                            "ending; try again later")),
                         "application/json");
    return;
  }
  if (!exchange->request().streams) {
    answer_whole(*exchange, response);
    return;
  }
  response.set_header("Cache-Control", "no-cache");
  response.set_chunked_content_provider(
      "text/event-stream", [stream = std::make_shared<Stream>(exchange)](
                               size_t, httplib::DataSink& sink) { return stream->send(sink); });
}

}  // namespace chunkllm::serve
