// What clients get: the answers of generate(), in the shapes that they know.
#include <atomic>

#include "engine/likelihood.h"
#include "serve/server_fixture.h"

namespace chunkllm::serve::test {
namespace {

Json greedy(const std::string& prompt, int64_t max_tokens = 24) {
  return {{"prompt", prompt}, {"max_tokens", max_tokens}, {"temperature", 0}};
}

TEST(Completions, AreThoseOfGenerateForEveryPolicy) {
  const TestServer server;
  for (const char* policy : {"full", "chunk", "streaming", "separator", "meankey", "quest"}) {
    for (const int64_t n : {20, 300, 900}) {
      Json body = greedy(long_text(n));
      body["policy"] = policy;
      const GenerateResult expected = generated(body["prompt"], 24, policy);
      // The second time a slot holds the prompt.
      for (int turn = 0; turn < 2; ++turn) {
        const Json reply = server.post("/v1/completions", body);
        EXPECT_EQ(reply["choices"][0]["text"], expected.text) << policy << " " << n;
        EXPECT_EQ(reply["choices"][0]["finish_reason"], expected.finish_reason);
        EXPECT_EQ(reply["usage"]["prompt_tokens"], expected.prompt_tokens);
        EXPECT_EQ(reply["usage"]["completion_tokens"], expected.generated_tokens);
        EXPECT_EQ(reply["chunkllm"]["policy"], policy);
        if (turn == 0) {
          EXPECT_DOUBLE_EQ(reply["chunkllm"]["kv_retention"], expected.retention.kv_retention());
        } else {
          EXPECT_GT(reply["usage"]["prompt_tokens_details"]["cached_tokens"], n / 2);
        }
      }
    }
  }
}

TEST(Completions, DoNotDependOnWhatElseIsAsked) {
  const TestServer server;
  constexpr size_t kClients = 16;
  std::vector<std::string> expected;
  for (size_t i = 0; i < kClients; ++i) {
    expected.push_back(generated(long_text(100 + 40 * static_cast<int64_t>(i), 3), 30,
                                 i % 3 == 0 ? "full" : "chunk")
                           .text);
  }
  std::vector<std::string> texts(kClients);
  std::vector<std::thread> clients;
  for (size_t i = 0; i < kClients; ++i) {
    clients.emplace_back([&, i] {
      Json body = greedy(long_text(100 + 40 * static_cast<int64_t>(i), 3), 30);
      if (i % 3 == 0) body["policy"] = "full";
      texts[i] = server.post("/v1/completions", body)["choices"][0]["text"];
    });
  }
  for (std::thread& client : clients) client.join();
  EXPECT_EQ(texts, expected);
}

TEST(Completions, ArriveInPiecesAsInOne) {
  const TestServer server;
  Json body = greedy(long_text(200), 40);
  const Json whole = server.post("/v1/completions", body);
  body["stream_options"] = {{"include_usage", true}};
  body["return_progress"] = true;
  const std::vector<Json> events = server.stream("/v1/completions", body);
  std::string text;
  std::string reason;
  int64_t n_progress = 0;
  for (const Json& event : events) {
    if (event.contains("prompt_progress")) {
      ++n_progress;
      EXPECT_LE(event["prompt_progress"]["processed"], event["prompt_progress"]["total"]);
      continue;
    }
    if (event["choices"].empty()) continue;
    text += event["choices"][0]["text"];
    if (!event["choices"][0]["finish_reason"].is_null()) {
      reason = event["choices"][0]["finish_reason"];
    }
  }
  EXPECT_EQ(text, whole["choices"][0]["text"]);
  EXPECT_EQ(reason, whole["choices"][0]["finish_reason"]);
  EXPECT_GE(n_progress, 1);
  EXPECT_EQ(events.back()["usage"]["completion_tokens"], whole["usage"]["completion_tokens"]);
}

TEST(Completions, AChatHasRolesAndDeltas) {
  const TestServer server;
  const Json body = {{"messages", {{{"role", "user"}, {"content", "Say something."}}}},
                     {"max_tokens", 12},
                     {"temperature", 0}};
  const Json whole = server.post("/v1/chat/completions", body);
  EXPECT_EQ(whole["object"], "chat.completion");
  EXPECT_EQ(whole["choices"][0]["message"]["role"], "assistant");
  const std::vector<Json> events = server.stream("/v1/chat/completions", body);
  EXPECT_EQ(events.front()["choices"][0]["delta"]["role"], "assistant");
  std::string text;
  for (const Json& event : events) {
    EXPECT_EQ(event["object"], "chat.completion.chunk");
    text += event["choices"][0]["delta"].value("content", "");
  }
  EXPECT_EQ(text, whole["choices"][0]["message"]["content"]);
  EXPECT_EQ(events.back()["choices"][0]["finish_reason"], whole["choices"][0]["finish_reason"]);
  // Parts of the type "text" are one text.
  Json parts = body;
  parts["messages"][0]["content"] = {{{"type", "text"}, {"text", "Say something."}}};
  EXPECT_EQ(server.post("/v1/chat/completions", parts)["choices"], whole["choices"]);
}

TEST(Completions, AMessageThatCallsToolsNeedsNoContent) {
  const TestServer server;
  Json body = {{"messages",
                {{{"role", "user"}, {"content", "What time is it?"}},
                 {{"role", "assistant"},
                  {"content", nullptr},
                  {"tool_calls",
                   {{{"id", "1"},
                     {"type", "function"},
                     {"function", {{"name", "now"}, {"arguments", "{}"}}}}}}},
                 {{"role", "user"}, {"content", "Well?"}}}},
               {"max_tokens", 2}};
  EXPECT_EQ(server.post("/v1/chat/completions", body)["choices"].size(), 1u);
}

TEST(Completions, OfLlamaCppsShapeJoinToTheWhole) {
  const TestServer server;
  const Json body = {{"prompt", long_text(40)},
                     {"n_predict", 6},
                     {"temperature", 0},
                     {"return_tokens", true},
                     {"return_progress", true}};
  const Json whole = server.post("/completion", body);
  Json streamed = body;
  streamed["stream"] = true;
  const httplib::Result result =
      server.client().Post("/completion", streamed.dump(), "application/json");
  std::string text;
  Json tokens = Json::array();
  size_t begin = 0;
  for (size_t end; (end = result->body.find("\n\n", begin)) != std::string::npos; begin = end + 2) {
    const Json event = Json::parse(result->body.substr(begin + 6, end - begin - 6));
    text += event["content"];
    for (const Json& token : event.value("tokens", Json::array())) tokens.push_back(token);
  }
  EXPECT_EQ(text, whole["content"]);
  EXPECT_EQ(tokens, whole["tokens"]);
  EXPECT_EQ(tokens.size(), 6u);
}

TEST(Completions, EchoScoresThePromptAsTextThatIsGiven) {
  const TestServer server;
  const Engine& engine = needle_engine();
  const std::vector<int32_t> ids = text_prompt(engine.tokenizer(), long_text(400)).ids;
  Json body = {{"prompt", {ids, {ids[0], ids[1], ids[2]}}},
               {"max_tokens", 1},
               {"temperature", 0},
               {"logprobs", 1},
               {"echo", true}};
  const Json reply = server.post("/v1/completions", body);
  ASSERT_EQ(reply["choices"].size(), 2u);
  const Json& probs = reply["choices"][0]["logprobs"];
  ASSERT_EQ(probs["token_logprobs"].size(), ids.size() + 1);
  ASSERT_EQ(probs["top_logprobs"].size(), ids.size() + 1);
  ASSERT_EQ(probs["text_offset"].size(), ids.size() + 1);
  EXPECT_TRUE(probs["token_logprobs"][0].is_null());
  EXPECT_TRUE(probs["top_logprobs"][0].is_null());
  Session session(engine, small_budget());
  const Likelihood expected = score_text(session, ids, 1);
  for (size_t i = 1; i < ids.size(); ++i) {
    EXPECT_NEAR(probs["token_logprobs"][i].get<double>(), expected.log_probs[i - 1], 1e-3) << i;
    double largest = -1e9;
    for (const auto& [name, value] : probs["top_logprobs"][i].items()) {
      largest = std::max(largest, value.get<double>());
    }
    EXPECT_GE(largest, probs["token_logprobs"][i].get<double>());
  }
  // The token that was generated is the likeliest, to the last bit.
  EXPECT_EQ(probs["token_logprobs"].back(), probs["top_logprobs"].back().front());
  EXPECT_EQ(reply["choices"][1]["logprobs"]["tokens"].size(), 4u);
  // The same once more, beside a prompt that was read otherwise.
  server.post("/v1/completions", {{"prompt", ids}, {"max_tokens", 3}, {"temperature", 0}});
  const Json again = server.post("/v1/completions", body);
  EXPECT_EQ(again["choices"][0]["logprobs"], probs);

  body["max_tokens"] = 0;
  const Json prompt_alone = server.post("/v1/completions", body);
  EXPECT_EQ(prompt_alone["choices"][0]["logprobs"]["tokens"].size(), ids.size());
  EXPECT_EQ(prompt_alone["usage"]["completion_tokens"], 0);
}

TEST(Completions, LogProbsOfAnswersAreTheModels) {
  const TestServer server;
  Json body = greedy(long_text(50), 6);
  body["logprobs"] = 3;
  const Json probs = server.post("/v1/completions", body)["choices"][0]["logprobs"];
  ASSERT_EQ(probs["tokens"].size(), 6u);
  for (size_t i = 0; i < 6; ++i) {
    EXPECT_EQ(probs["content"][i]["top_logprobs"].size(), 3u);
    EXPECT_EQ(probs["token_logprobs"][i], probs["content"][i]["top_logprobs"][0]["logprob"]);
    EXPECT_LE(probs["token_logprobs"][i].get<double>(), 0.0);
  }
  const Json chat =
      server.post("/v1/chat/completions", {{"messages", {{{"role", "user"}, {"content", "Hello"}}}},
                                           {"max_tokens", 4},
                                           {"logprobs", true},
                                           {"top_logprobs", 2}});
  EXPECT_EQ(chat["choices"][0]["logprobs"]["content"][0]["top_logprobs"].size(), 2u);
}

TEST(Completions, SeveralChoicesReadTheirPromptOnce) {
  const TestServer server;
  Json body = greedy(long_text(500), 8);
  body["n"] = 3;
  body["temperature"] = 1.0;
  body["seed"] = 7;
  const Json reply = server.post("/v1/completions", body);
  ASSERT_EQ(reply["choices"].size(), 3u);
  EXPECT_NE(reply["choices"][0]["text"], reply["choices"][1]["text"]);
  EXPECT_LT(server.metrics().prompt_tokens, 2 * reply["usage"]["prompt_tokens"].get<int64_t>());
  // Seeds are what they say.
  EXPECT_EQ(server.post("/v1/completions", body)["choices"], reply["choices"]);
  body["n"] = 1;
  body["seed"] = 8;
  EXPECT_EQ(server.post("/v1/completions", body)["choices"][0]["text"],
            reply["choices"][1]["text"]);
}

TEST(Completions, EndAtStopTextsTokensAndLengths) {
  const TestServer server;
  const std::string text = generated(long_text(60), 40).text;
  ASSERT_GT(text.size(), 12u);
  Json body = greedy(long_text(60), 40);
  body["stop"] = text.substr(6, 4);
  Json reply = server.post("/v1/completions", body);
  EXPECT_EQ(reply["choices"][0]["text"], text.substr(0, text.find(text.substr(6, 4))));
  EXPECT_EQ(reply["choices"][0]["finish_reason"], "stop");
  EXPECT_EQ(reply["choices"][0]["stop_reason"], text.substr(6, 4));
  const Json native = server.post("/completion", {{"prompt", body["prompt"]},
                                                  {"n_predict", 40},
                                                  {"temperature", 0},
                                                  {"stop", {text.substr(6, 4)}}});
  EXPECT_EQ(native["content"], reply["choices"][0]["text"]);
  EXPECT_EQ(native["stop_type"], "word");
  body.erase("stop");
  const std::vector<int32_t> ids = generated(long_text(60), 40).ids;
  body["stop_token_ids"] = {ids[3]};
  reply = server.post("/v1/completions", body);
  EXPECT_EQ(reply["choices"][0]["finish_reason"], "stop");
  EXPECT_LE(reply["usage"]["completion_tokens"], 4);
  EXPECT_EQ(reply["choices"][0]["stop_reason"], ids[3]);
  body["min_tokens"] = 12;
  body["stop"] = text.substr(0, 2);
  EXPECT_GE(server.post("/v1/completions", body)["usage"]["completion_tokens"], 12);
}

TEST(Completions, BadRequestsAreRefusedWithTheirReason) {
  const TestServer server;
  struct Case {
    std::string body;
    std::string words;
  };
  const std::string ids(70, '1');
  const Case cases[] = {
      {"", "not valid JSON"},
      {"{", "not valid JSON"},
      {"[]", "must be a JSON object"},
      {"{}", "the field prompt is missing"},
      {R"({"prompt": ""})", ""},  // a tokenizer with BOS makes a prompt of it
      {R"({"prompt": []})", "must be a text"},
      {R"({"prompt": {}})", "must be a text"},
      {R"({"prompt": [1, "a"]})", "mixes"},
      {R"({"prompt": [[1], 2]})", "prompt holds"},
      {R"({"prompt": [1.5]})", "prompt holds 1.5"},
      {R"({"prompt": [1e30]})", "whole numbers"},
      {R"({"prompt": [-1]})", "outside the model's vocabulary"},
      {R"({"prompt": [99999999]})", "outside the model's vocabulary"},
      {R"({"prompt": "a", "max_tokens": -7})", "max_tokens"},
      {R"({"prompt": "a", "max_tokens": "many"})", "max_tokens"},
      {R"({"prompt": "a", "temperature": 1000})", "temperature"},
      {R"({"prompt": "a", "top_p": 2})", "top_p"},
      {R"({"prompt": "a", "stop": 5})", "stop must be"},
      {R"({"prompt": "a", "n": 0})", "n"},
      {R"({"prompt": "a", "n": 100000})", "n"},
      {R"({"prompt": "a", "logprobs": 5000})", "logprobs"},
      {R"({"prompt": "a", "logit_bias": {"x": 1}})", "logit_bias"},
      {R"({"prompt": "a", "logit_bias": {"99999999": 1}})", "the token id 99999999"},
      {R"({"prompt": "a", "stop_token_ids": [99999999]})", "the id 99999999"},
      {R"({"prompt": "a", "stop_token_ids": 5})", "must be an array"},
      {R"({"prompt": "a", "n": 80})", "takes 67 at a time"},
      {R"({"prompt": "a", "stop_token_ids": [-1]})", "the id -1"},
      {R"({"prompt": "a", "policy": "best"})", "policy best: must be"},
      {R"({"prompt": "a", "policy": ""})", "policy '': must be"},
      {R"({"prompt": "a", "policy": "fixed"})", "ask for another"},
      {R"({"prompt": "a", "kv_budget": -1})", "kv_budget"},
      {R"({"prompt": "a", "kv_budget": 0.1, "top_k_chunks": 4})", "exclude each other"},
      {R"({"prompt": "a", "stream_options": {"include_usage": true}})", "needs \"stream\""},
      {R"({"prompt": "a", "response_format": {"type": "json_object"}})", "response_format"},
      {R"({"prompt": "a", "n": 2, "best_of": 3})", "best_of is not supported"},
      {R"({"prompt": "a", "best_of": 0})", "best_of"},
      {"{\"prompt\": \"\xff\"}", "UTF-8"},
  };
  for (const Case& c : cases) {
    const httplib::Result result =
        server.client().Post("/v1/completions", c.body, "application/json");
    ASSERT_TRUE(result);
    if (c.words.empty()) continue;
    EXPECT_EQ(result->status, 400) << c.body;
    const Json reply = Json::parse(result->body);
    const std::string message = reply["error"]["message"];
    EXPECT_NE(message.find(c.words), std::string::npos) << c.body << ": " << message;
    EXPECT_EQ(message.find('\n'), std::string::npos) << message;
  }
  const httplib::Result nowhere = server.client().Get("/v2/nothing");
  EXPECT_EQ(nowhere->status, 404);
  EXPECT_EQ(Json::parse(nowhere->body)["error"]["type"], "not_found_error");
}

TEST(Completions, APromptThatDoesNotFitSaysByHowMuch) {
  const TestServer server;
  const httplib::Result result =
      server.client().Post("/v1/completions", greedy(long_text(3000)).dump(), "application/json");
  EXPECT_EQ(result->status, 400);
  const Json error = Json::parse(result->body)["error"];
  EXPECT_EQ(error["type"], "exceed_context_size_error");
  EXPECT_EQ(error["n_ctx"], 2048);
  EXPECT_GT(error["n_prompt_tokens"], 2048);
  // One that fills the context gets the one token that fits.
  std::vector<int32_t> ids(2048, 5);
  const Json reply = server.post("/v1/completions", {{"prompt", ids}, {"max_tokens", 100}});
  EXPECT_EQ(reply["usage"]["completion_tokens"], 1);
}

TEST(Completions, EndWhenTheClientLeaves) {
  const TestServer server;
  for (const bool streams : {false, true}) {
    const int64_t before = server.metrics().cancelled_jobs;
    httplib::Client client = server.client();
    Json body = greedy(long_text(1500), 500);
    body["ignore_eos"] = true;
    body["stream"] = streams;
    if (streams) {
      httplib::Request request;
      request.method = "POST";
      request.path = "/v1/completions";
      request.set_header("Content-Type", "application/json");
      request.body = body.dump();
      // At the first piece: a stream that is read need not pause until it ends.
      request.content_receiver = [](const char*, size_t, uint64_t, uint64_t) { return false; };
      EXPECT_FALSE(client.send(request));
    } else {
      client.set_read_timeout(0, 50'000);
      EXPECT_FALSE(client.Post("/v1/completions", body.dump(), "application/json"));
    }
    client.stop();
    for (int i = 0; i < 500 && server.metrics().cancelled_jobs == before; ++i) {
      std::this_thread::sleep_for(std::chrono::milliseconds(10));
    }
    EXPECT_EQ(server.metrics().cancelled_jobs, before + 1) << streams;
  }
  // What ran of it is no loss for others.
  const std::string text = long_text(1500);
  EXPECT_EQ(server.post("/v1/completions", greedy(text))["choices"][0]["text"],
            generated(text, 24).text);
}

TEST(Completions, AreRefusedWhenTooManyWait) {
  const TestServer server({}, 1, 0);
  std::atomic<int> n_refused{0}, n_answered{0};
  std::vector<std::thread> clients;
  for (int i = 0; i < 8; ++i) {
    clients.emplace_back([&, i] {
      const httplib::Result result = server.client().Post(
          "/v1/completions", greedy(long_text(800, i), 100).dump(), "application/json");
      ASSERT_TRUE(result);
      if (result->status == 503) {
        ++n_refused;
        EXPECT_EQ(Json::parse(result->body)["error"]["type"], "unavailable_error");
        EXPECT_TRUE(result->has_header("Retry-After"));
      } else {
        EXPECT_EQ(result->status, 200);
        ++n_answered;
      }
    });
  }
  for (std::thread& client : clients) client.join();
  EXPECT_EQ(n_refused + n_answered, 8);
  EXPECT_GE(n_answered, 1);
  EXPECT_GE(n_refused, 1);
}

TEST(Completions, HaveATimeLimit) {
  TestServer server;
  server.context().time_limit = std::chrono::seconds(0);
  const httplib::Result result =
      server.client().Post("/v1/completions", greedy("a", 500).dump(), "application/json");
  EXPECT_EQ(result->status, 504);
  EXPECT_EQ(Json::parse(result->body)["error"]["type"], "timeout_error");
}

}  // namespace
}  // namespace chunkllm::serve::test
