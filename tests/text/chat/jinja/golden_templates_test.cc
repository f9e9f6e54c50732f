// Chat templates of real models with renderings by Hugging Face's Jinja environment: the folder
// `templates` of $CHUNKLLM_FIXTURES, or of ../shared/fixtures. Each file holds `template`,
// `bos_token`, `eos_token`, `now`, and `cases` of `messages`, `add_generation_prompt` and `text` or
// `error`.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cstdlib>
#include <filesystem>
#include <fstream>

#include "base/error.h"
#include "text/chat/jinja/template.h"

namespace chunkllm::jinja {
namespace {

using nlohmann::ordered_json;

std::filesystem::path fixtures() {
  const char* folder = std::getenv("CHUNKLLM_FIXTURES");
  return folder != nullptr ? folder : CHUNKLLM_SOURCE_DIR "/../shared/fixtures";
}

std::tm parse_time(const std::string& text) {
  std::tm time = {};
  EXPECT_NE(::strptime(text.c_str(), "%Y-%m-%dT%H:%M:%S", &time), nullptr) << text;
  return time;
}

// The rendering, or nothing where there is an error.
std::optional<std::string> render(const ordered_json& fixture, const ordered_json& chat) {
  ordered_json variables = chat;
  for (const char* name : {"name", "text", "error"}) variables.erase(name);
  for (const char* name : {"tools", "documents"}) {
    if (!variables.contains(name)) variables[name] = nullptr;
  }
  for (const char* name : {"bos_token", "eos_token"}) {
    if (fixture.contains(name) && !fixture[name].is_null()) variables[name] = fixture[name];
  }
  try {
    const Template chat_template(fixture.at("template").get<std::string>(), "the template");
    const std::string now = fixture.value("now", "2026-11-26T12:00:00");
    return chat_template.render(variables, parse_time(now)).bytes;
  } catch (const Error&) {
    return std::nullopt;
  }
}

TEST(GoldenChatTemplates, RenderAsHuggingFaceDoes) {
  std::error_code error;
  std::vector<std::filesystem::path> files;
  for (const auto& entry : std::filesystem::directory_iterator(fixtures() / "templates", error)) {
    if (entry.path().extension() == ".json") files.push_back(entry.path());
  }
  if (files.empty()) GTEST_SKIP() << "no templates in " << fixtures();
  for (const std::filesystem::path& file : files) {
    std::ifstream stream(file);
    const ordered_json fixture = ordered_json::parse(stream);
    for (const ordered_json& chat : fixture.at("cases")) {
      const std::optional<std::string> text = render(fixture, chat);
      const std::string where = file.filename().string() + ", " + chat.value("name", "");
      if (chat.contains("error")) {
        EXPECT_FALSE(text) << where << ": no error, but " << *text;
      } else {
        EXPECT_EQ(text.value_or("an error"), chat.at("text").get<std::string>()) << where;
      }
    }
  }
}

}  // namespace
}  // namespace chunkllm::jinja
