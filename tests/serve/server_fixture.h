// A server of the demonstration model, in this process.
#pragma once

#include <gtest/gtest.h>
#include <httplib.h>

#include <memory>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <thread>
#include <vector>

#include "engine/generate.h"
#include "engine/needle_engine.h"
#include "engine/session_cases.h"
#include "serve/scheduler.h"
#include "serve/server.h"

namespace chunkllm::serve::test {

using Json = nlohmann::ordered_json;
using chunkllm::test::needle_engine;
using chunkllm::test::small_budget;

// A text of about so many tokens, another one for each seed.
inline std::string long_text(int64_t n_tokens, int64_t seed = 0) {
  Rng rng(static_cast<uint64_t>(100 + seed));
  return make_text(rng, 4 * n_tokens);
}

class TestServer {
 public:
  explicit TestServer(ServerOptions options = {}, int64_t n_slots = 3, int64_t max_queued = 64,
                      PrefixCacheOptions prefixes = {}) {
    context_.session = small_budget();
    context_.session.block_tokens = 64;
    context_.chat_template = needle_engine().chat_template();
    context_.model_name = "needle";
    scheduler_ =
        std::make_unique<Scheduler>(needle_engine(), SchedulerOptions{.session = context_.session,
                                                                      .n_slots = n_slots,
                                                                      .max_queued = max_queued,
                                                                      .block_tokens = 64,
                                                                      .block_tokens_beside = 32,
                                                                      .prefixes = prefixes});
    options.port = 0;
    options.max_connections = 32;
    server_ = std::make_unique<Server>(context_, *scheduler_, options);
    thread_ = std::thread([this] { server_->run(); });
    while (!client().Get("/health")) std::this_thread::sleep_for(std::chrono::milliseconds(5));
  }
  ~TestServer() {
    scheduler_->finish(std::chrono::milliseconds(0));
    server_->stop();
    thread_.join();
  }

  httplib::Client client() const {
    httplib::Client client(server_->address());
    client.set_read_timeout(60);
    return client;
  }
  const Metrics& metrics() const { return scheduler_->metrics(); }
  RequestContext& context() { return context_; }
  Scheduler& scheduler() { return *scheduler_; }
  std::string address() const { return server_->address(); }

  // The reply to a request that must succeed.
  Json post(const std::string& path, const Json& body) const {
    const httplib::Result result = client().Post(path, body.dump(), "application/json");
    if (!result) {
      ADD_FAILURE() << path << ": " << httplib::to_string(result.error());
      return {};
    }
    EXPECT_EQ(result->status, 200) << result->body;
    return Json::parse(result->body);
  }
  // The events of a stream, without [DONE], which must be the last.
  std::vector<Json> stream(const std::string& path, Json body) const {
    body["stream"] = true;
    const httplib::Result result = client().Post(path, body.dump(), "application/json");
    std::vector<Json> events;
    if (!result) {
      ADD_FAILURE() << path << ": " << httplib::to_string(result.error());
      return events;
    }
    EXPECT_TRUE(result->body.ends_with("data: [DONE]\n\n")) << result->body;
    size_t begin = 0;
    for (size_t end; (end = result->body.find("\n\n", begin)) != std::string::npos;
         begin = end + 2) {
      const std::string line = result->body.substr(begin, end - begin);
      if (line.starts_with(":") || line == "data: [DONE]") continue;
      EXPECT_TRUE(line.starts_with("data: ")) << line;
      events.push_back(Json::parse(line.substr(6)));
    }
    return events;
  }

 private:
  RequestContext context_{.engine = needle_engine(), .session = {}};
  std::unique_ptr<Scheduler> scheduler_;
  std::unique_ptr<Server> server_;
  std::thread thread_;
};

// What generate() answers to the same.
inline GenerateResult generated(const std::string& text, int64_t max_tokens,
                                const char* policy = "chunk") {
  const Engine& engine = needle_engine();
  SessionOptions options = small_budget();
  options.block_tokens = 64;
  options.policy = &policy_named(policy);
  Session session(engine, options);
  return generate(session, engine.tokenizer(), text_prompt(engine.tokenizer(), text),
                  {.max_tokens = max_tokens, .eos_ids = engine.eos_ids()});
}

}  // namespace chunkllm::serve::test
