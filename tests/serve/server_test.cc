// Keys, limits, what is told about the model, and what a restart finds.
#include <filesystem>
#include <fstream>

#include "serve/server_fixture.h"
#include "testing/expect_error.h"
#include "testing/temp_folder.h"

namespace chunkllm::serve::test {
namespace {

namespace fs = std::filesystem;

TEST(Server, AsksForAKeyWhereThereIsOne) {
  const TestServer server({.api_keys = {"first", "second"}});
  const auto status = [&](const httplib::Headers& headers) {
    return server.client().Get("/v1/models", headers)->status;
  };
  EXPECT_EQ(status({}), 401);
  EXPECT_EQ(status({{"Authorization", "Bearer "}}), 401);
  EXPECT_EQ(status({{"Authorization", "Bearer firs"}}), 401);
  EXPECT_EQ(status({{"Authorization", "Bearer first"}}), 200);
  EXPECT_EQ(status({{"Authorization", "Bearer second"}}), 200);
  EXPECT_EQ(status({{"X-Api-Key", "second"}}), 200);
  EXPECT_EQ(server.client().Get("/health")->status, 200);
  EXPECT_EQ(server.client().Post("/v1/completions", "{}", "application/json")->status, 401);
}

TEST(Server, LetsOtherPagesAskOnlyWhereThatWasAskedFor) {
  const TestServer closed;
  EXPECT_FALSE(closed.client().Get("/v1/models")->has_header("Access-Control-Allow-Origin"));
  const TestServer open({.cors_origin = "https://example.org"});
  EXPECT_EQ(open.client().Get("/v1/models")->get_header_value("Access-Control-Allow-Origin"),
            "https://example.org");
  EXPECT_EQ(open.client().Options("/v1/models")->status, 204);
}

TEST(Server, OtherPagesGetNoAnswerEvenWhereTheyNeedNoLeave) {
  const TestServer closed;
  const auto status = [](const TestServer& server, const std::string& origin) {
    return server.client()
        .Post("/tokenize", {{"Origin", origin}}, R"({"content": "a"})", "text/plain")
        ->status;
  };
  EXPECT_EQ(status(closed, "https://example.org"), 403);
  EXPECT_EQ(status(closed, "http://127.0.0.1.example.org"), 403);
  EXPECT_EQ(status(closed, "null"), 403);
  EXPECT_EQ(status(closed, "http://127.0.0.1:8080"), 200);
  EXPECT_EQ(status(closed, "http://localhost:3000"), 200);
  const TestServer open({.cors_origin = "https://example.org"});
  EXPECT_EQ(status(open, "https://example.org"), 200);
  EXPECT_EQ(status(open, "https://example.com"), 403);
}

TEST(Server, TwoCannotListenAtOnePort) {
  const TestServer first;
  ServerOptions options;
  options.port = std::stoi(first.address().substr(first.address().rfind(':') + 1));
  TestServer second;
  chunkllm::expect_error(ErrorCode::kIo, "cannot listen on",
                         [&] { Server(second.context(), second.scheduler(), options); });
}

TEST(Server, RefusesBodiesThatAreTooLarge) {
  const TestServer server({.max_body_bytes = 1000});
  const httplib::Result result =
      server.client().Post("/v1/completions", std::string(5000, ' '), "application/json");
  ASSERT_TRUE(result);
  EXPECT_EQ(result->status, 413);
  EXPECT_NE(Json::parse(result->body)["error"]["message"].get<std::string>().find("larger"),
            std::string::npos);
}

TEST(Server, RefusesLengthsThatAreNone) {
  const TestServer server;
  for (const char* length : {"-5", "99999999999999999999", "0x10", "1e3"}) {
    const httplib::Result result = server.client().Post(
        "/v1/completions", {{"Content-Length", length}}, "{}", "application/json");
    ASSERT_TRUE(result) << length;
    EXPECT_EQ(result->status, 400) << length;
    EXPECT_NE(result->body.find("Content-Length"), std::string::npos) << result->body;
  }
}

TEST(Server, RefusesBodiesAheadThatAreTooLarge) {
  const TestServer server({.max_body_bytes = 1000});
  const httplib::Result result = server.client().Post(
      "/v1/completions", {{"Content-Length", "1000000000"}}, "{}", "application/json");
  ASSERT_TRUE(result);
  EXPECT_EQ(result->status, 413);
}

TEST(Server, BodiesInChunksHaveTheSameLimit) {
  const TestServer server({.max_body_bytes = 1000});
  for (const int64_t n_blanks : {10, 500, 2000, 100000}) {
    const std::string body =
        R"({"content": "a"})" + std::string(static_cast<size_t>(n_blanks), ' ');
    const httplib::Result result = server.client().Post(
        "/tokenize",
        [&](size_t offset, httplib::DataSink& sink) {
          const std::string piece = body.substr(offset, 100);
          sink.write(piece.data(), piece.size());
          if (offset + piece.size() == body.size()) sink.done();
          return true;
        },
        "application/json");
    ASSERT_TRUE(result) << n_blanks;
    EXPECT_EQ(result->status, n_blanks < 900 ? 200 : 413) << n_blanks << result->body;
  }
}

TEST(Server, BodiesOfOtherKindsAreNamed) {
  const TestServer server;
  const httplib::Result zipped = server.client().Post("/tokenize", {{"Content-Encoding", "gzip"}},
                                                      R"({"content": "a"})", "application/json");
  EXPECT_EQ(zipped->status, 415);
  EXPECT_NE(zipped->body.find("Content-Encoding gzip"), std::string::npos) << zipped->body;
  const httplib::Result form =
      server.client().Post("/tokenize", R"({"content": "a"})", "multipart/form-data; boundary=x");
  EXPECT_EQ(form->status, 415);
}

TEST(Server, TellsOfTheModelAndItsTokens) {
  const TestServer server;
  const Json models = Json::parse(server.client().Get("/v1/models")->body);
  EXPECT_EQ(models["data"][0]["id"], "needle");
  EXPECT_EQ(models["data"][0]["max_model_len"], 2048);
  EXPECT_EQ(Json::parse(server.client().Get("/v1/models/needle")->body), models["data"][0]);
  EXPECT_EQ(server.client().Get("/v1/models/other")->status, 404);
  const Json props = Json::parse(server.client().Get("/props")->body);
  EXPECT_EQ(props["total_slots"], 3);
  EXPECT_TRUE(props["chat_template"].is_string());
  EXPECT_EQ(Json::parse(server.client().Get("/slots")->body).size(), 3u);
  const Tokenizer& tokenizer = needle_engine().tokenizer();
  const std::string text = "One, two and three.";
  const Json with_bos = server.post("/tokenize", {{"prompt", text}});
  EXPECT_EQ(with_bos["tokens"], Json(tokenizer.encode(text, {.add_special_tokens = true})));
  EXPECT_EQ(with_bos["count"], with_bos["tokens"].size());
  const Json without = server.post("/tokenize", {{"content", text}});
  EXPECT_EQ(without["tokens"], Json(tokenizer.encode(text)));
  const Json back = server.post("/detokenize", {{"tokens", without["tokens"]}});
  EXPECT_EQ(back["content"], text);
  EXPECT_EQ(back["prompt"], text);
  const Json messages = {{{"role", "user"}, {"content", text}}};
  const std::string rendered = server.post("/apply-template", {{"messages", messages}})["prompt"];
  EXPECT_NE(rendered.find(text), std::string::npos);
  EXPECT_EQ(server.post("/tokenize", {{"messages", messages}})["tokens"],
            Json(tokenizer.encode(rendered)));
  EXPECT_TRUE(Json::parse(server.client().Get("/tokenizer_info")->body)["eos_token"].is_string());
  const std::string metrics = server.client().Get("/metrics")->body;
  EXPECT_NE(metrics.find("\nchunkllm:requests_total 0\n"), std::string::npos) << metrics;
  EXPECT_EQ(server.client().Get("/")->get_header_value("Content-Type"), "text/html; charset=utf-8");
}

TEST(Server, SavesAndRestoresSlots) {
  const TempFolder folder;
  const TestServer server({.slot_folder = folder.path()}, 1);
  const Json body = {{"prompt", long_text(400)}, {"max_tokens", 4}, {"temperature", 0}};
  const Json reply = server.post("/v1/completions", body);
  const Json saved = server.post("/slots/0?action=save", {{"filename", "a.bin"}});
  EXPECT_GT(saved["n_saved"], 300);
  EXPECT_EQ(saved["n_written"], fs::file_size(folder / "a.bin"));
  EXPECT_EQ(server.post("/slots/0?action=erase", Json::object())["n_erased"], saved["n_saved"]);
  EXPECT_EQ(server.post("/slots/0?action=restore", {{"filename", "a.bin"}})["n_restored"],
            saved["n_saved"]);
  const Json again = server.post("/v1/completions", body);
  EXPECT_EQ(again["choices"], reply["choices"]);
  EXPECT_GT(again["usage"]["prompt_tokens_details"]["cached_tokens"], 300);
  const auto refuse = [&](const std::string& path, const Json& given, const char* words = "") {
    const httplib::Result result = server.client().Post(path, given.dump(), "application/json");
    EXPECT_EQ(result->status, 400) << path << given << result->body;
    EXPECT_NE(result->body.find(words), std::string::npos) << result->body;
    EXPECT_EQ(result->body.find(folder.path().string()), std::string::npos) << result->body;
  };
  for (const char* name : {"", "..", "../a.bin", "/etc/passwd", ".hidden", "a/b", "a b"}) {
    refuse("/slots/0?action=save", {{"filename", name}});
    refuse("/slots/0?action=restore", {{"filename", name}});
  }
  refuse("/slots/0?action=restore", {{"filename", "missing.bin"}}, "missing.bin");
  std::ofstream(folder / "junk.bin") << "no cache";
  refuse("/slots/0?action=restore", {{"filename", "junk.bin"}}, "junk.bin");
  refuse("/slots/0?action=save", {{"filename", "junk.bin"}}, "junk.bin exists");
  refuse("/slots/0?action=save", {{"filename", 5}}, "filename must be a string");
  refuse("/slots/0?action=save", Json::object(), "filename is missing");
  refuse("/slots/0?action=save", {{"filename", std::string(300, 'a')}}, "300 bytes");
  refuse("/slots/99999999999999999999?action=erase", Json::object(),
         "no slot 99999999999999999999");
  EXPECT_GT(server.post("/slots/0?action=save", {{"filename", "b.bin"}})["n_saved"], 300);
  // What was restored can be saved as it is.
  server.post("/slots/0?action=restore", {{"filename", "a.bin"}});
  EXPECT_EQ(server.post("/slots/0?action=save", {{"filename", "c.bin"}})["n_saved"],
            saved["n_saved"]);
  server.post("/slots/0?action=restore", {{"filename", "c.bin"}});
  EXPECT_EQ(server.post("/v1/completions", body)["choices"], reply["choices"]);
  // That of another policy is restored where it is named.
  Json full = body;
  full["policy"] = "full";
  const Json by_full = server.post("/v1/completions", full);
  server.post("/slots/0?action=save", {{"filename", "full.bin"}});
  refuse("/slots/0?action=restore", {{"filename", "full.bin"}}, "--policy full");
  fs::create_directory(folder / "sub");
  refuse("/slots/0?action=save", {{"filename", "sub"}}, "folder");
  server.post("/slots/0?action=restore", {{"filename", "full.bin"}, {"policy", "full"}});
  EXPECT_EQ(server.post("/v1/completions", full)["choices"], by_full["choices"]);
  EXPECT_EQ(server.post("/v1/completions", body)["choices"], reply["choices"]);
  refuse("/slots/7?action=erase", Json::object());
  refuse("/slots/0?action=dance", Json::object());
}

TEST(Server, SlotsThatWereHalfSavedByAServerThatWasKilledGo) {
  const TempFolder folder;
  {
    const TestServer server({.slot_folder = folder.path()}, 1);
    server.post("/v1/completions", {{"prompt", long_text(100)}, {"max_tokens", 4}});
    server.post("/slots/0?action=save", {{"filename", "a.bin"}});
    const httplib::Result refused = server.client().Post(
        "/slots/0?action=save", R"({"filename": "a.bin.tmp5"})", "application/json");
    EXPECT_EQ(refused->status, 400) << "it would be taken for half of a.bin";
  }
  fs::copy_file(folder / "a.bin", folder / "a.bin.tmp99999999");
  fs::resize_file(folder / "a.bin.tmp99999999", fs::file_size(folder / "a.bin") / 2);
  write_text(folder / "notes.txt", "somebody's own");
  write_text(folder / "notes.tmp99999999", "somebody's own");
  const TestServer server({.slot_folder = folder.path()});
  EXPECT_FALSE(fs::exists(folder / "a.bin.tmp99999999"));
  for (const char* name : {"a.bin", "notes.txt", "notes.tmp99999999"}) {
    EXPECT_TRUE(fs::exists(folder / name)) << name;
  }
}

TEST(Server, AHostThatIsNoneIsNamed) {
  try {
    const TestServer server({.host = "no.such.host.invalid"});
    FAIL() << "a server of no host";
  } catch (const Error& error) {
    EXPECT_NE(std::string(error.what()).find("--host \"no.such.host.invalid\""), std::string::npos)
        << error.what();
  }
}

class Prefixes : public testing::Test {
 protected:
  int64_t cached(const TestServer& server, const std::string& prompt) {
    const Json reply =
        server.post("/v1/completions", {{"prompt", prompt}, {"max_tokens", 6}, {"temperature", 0}});
    EXPECT_EQ(reply["choices"][0]["text"], generated(prompt, 6).text);
    return reply["usage"]["prompt_tokens_details"]["cached_tokens"];
  }
  size_t n_files() const {
    size_t n = 0;
    for (const auto& entry : fs::directory_iterator(folder_.path())) n += entry.exists() ? 1 : 0;
    return n;
  }
  PrefixCacheOptions options(int64_t memory_bytes = int64_t{1} << 30,
                             int64_t disk_bytes = int64_t{1} << 30) const {
    return {.memory_bytes = memory_bytes, .folder = folder_.path(), .disk_bytes = disk_bytes};
  }
  // A question about a document: the prompts of one document share all but the end.
  static std::string question(int64_t document, int64_t number) {
    return long_text(700, document) + " Question " + std::to_string(number) + ": " +
           long_text(30, 50 + number);
  }
  TempFolder folder_;
};

TEST_F(Prefixes, MoreDocumentsThanSlotsAreReadOnce) {
  const TestServer server({}, 1, 64, options());
  for (int64_t document = 0; document < 3; ++document)
    EXPECT_EQ(cached(server, question(document, 0)), 0);
  for (int64_t document = 0; document < 3; ++document) {
    EXPECT_GT(cached(server, question(document, 1)), 500) << document;
  }
}

TEST_F(Prefixes, OutliveTheServer) {
  {
    const TestServer server({}, 1, 64, options());
    for (int64_t document = 0; document < 3; ++document) cached(server, question(document, 0));
  }
  EXPECT_EQ(n_files(), 3u);
  const TestServer server({}, 1, 64, options());
  for (int64_t document = 0; document < 3; ++document) {
    EXPECT_GT(cached(server, question(document, 1)), 500) << document;
  }
}

TEST_F(Prefixes, GoToFilesWhereThereIsNoMemory) {
  const TestServer server({}, 1, 64, options(0));
  for (int64_t document = 0; document < 3; ++document) cached(server, question(document, 0));
  EXPECT_EQ(n_files(), 2u);
  EXPECT_GT(cached(server, question(0, 1)), 500);
}

TEST_F(Prefixes, KeepWithinTheDisk) {
  const TestServer server({}, 1, 64, options(0, 1));
  for (int64_t document = 0; document < 3; ++document) cached(server, question(document, 0));
  EXPECT_EQ(n_files(), 0u);
  EXPECT_EQ(cached(server, question(0, 1)), 0);
}

TEST_F(Prefixes, ADamagedFileIsReadAnew) {
  for (const int64_t damage : {0, 100, 4000}) {
    {
      const TestServer server({}, 1, 64, options());
      cached(server, question(9, 0));
    }
    for (const auto& entry : fs::directory_iterator(folder_.path())) {
      if (damage == 0) {
        fs::resize_file(entry.path(), entry.file_size() / 2);
      } else {
        std::fstream file(entry.path(), std::ios::in | std::ios::out | std::ios::binary);
        file.seekp(static_cast<std::streamoff>(entry.file_size()) - damage);
        file.put('\x55');
      }
    }
    const TestServer server({}, 1, 64, options());
    EXPECT_EQ(cached(server, question(9, 1)), 0) << damage;
    for (const auto& entry : fs::directory_iterator(folder_.path())) fs::remove(entry.path());
  }
}

TEST_F(Prefixes, LeftoversOfServersThatWereKilledGo) {
  write_text(folder_ / "0123.prefix.tmp99999999", "half of it");
  write_text(folder_ / "notes.txt", "somebody's own");
  const TestServer server({}, 1, 64, options());
  EXPECT_EQ(n_files(), 1u);
}

TEST_F(Prefixes, ASecondQuestionCountsItsOwnRefreshes) {
  const TestServer server({}, 1, 64, options());
  const auto refreshes = [&](const std::string& prompt) {
    const Json reply = server.post(
        "/v1/completions",
        {{"prompt", prompt}, {"max_tokens", 20}, {"temperature", 0}, {"ignore_eos", true}});
    return reply["chunkllm"]["refreshes"].get<int64_t>();
  };
  refreshes(question(0, 0));
  EXPECT_GE(refreshes(question(0, 1)), 20) << "each token of an answer chooses anew";
}

TEST_F(Prefixes, OtherSettingsDoNotShareThem) {
  const TestServer server({}, 1, 64, options());
  cached(server, question(0, 0));
  const Json full = server.post(
      "/v1/completions",
      {{"prompt", question(0, 1)}, {"max_tokens", 6}, {"temperature", 0}, {"policy", "full"}});
  EXPECT_EQ(full["usage"]["prompt_tokens_details"]["cached_tokens"], 0);
  EXPECT_EQ(full["choices"][0]["text"], generated(question(0, 1), 6, "full").text);
}

}  // namespace
}  // namespace chunkllm::serve::test
