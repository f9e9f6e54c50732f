// Completions over HTTP: in one piece or as a stream of events, until they are done or the client
// has left.
#pragma once

#include <httplib.h>

#include <string>

#include "serve/reply.h"
#include "serve/scheduler.h"

namespace chunkllm::serve {

// JSON on one line; bytes that are no UTF-8 become U+FFFD.
std::string to_text(const nlohmann::ordered_json& json);

// Answers a request. Called on a thread of the HTTP server; throws Error for what is wrong with the
// request.
void complete(const RequestContext& context, Scheduler& scheduler, Dialect dialect,
              const httplib::Request& request, httplib::Response& response);

}  // namespace chunkllm::serve
