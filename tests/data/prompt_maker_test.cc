#include "data/prompt_maker.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <nlohmann/json.hpp>

#include "testing/models.h"
#include "testing/temp_folder.h"

namespace chunkllm {
namespace {

constexpr std::string_view kTurns =
    "{% for message in messages %}{{ '<|' + message['role'] + '|>' + message['content'] }}"
    "{% endfor %}{% if add_generation_prompt %}{{ '<|assistant|>' }}{% endif %}";

// The demonstration model with another chat template, or none. Its weights are never loaded.
class PromptMakerTest : public testing::Test {
 protected:
  Engine engine(const std::string& chat_template) const {
    for (const auto& entry : std::filesystem::directory_iterator(needle_model())) {
      const std::filesystem::path name = entry.path().filename();
      std::filesystem::remove(folder_.path() / name);
      std::filesystem::create_symlink(std::filesystem::absolute(entry.path()),
                                      folder_.path() / name);
    }
    nlohmann::json config =
        nlohmann::json::parse(read_text(needle_model() / "tokenizer_config.json"));
    config.erase("chat_template");
    if (!chat_template.empty()) config["chat_template"] = chat_template;
    std::filesystem::remove(folder_ / "tokenizer_config.json");
    write_text(folder_ / "tokenizer_config.json", config.dump());
    EngineOptions options;
    options.model = folder_.path();
    return Engine(options);
  }
  static std::string text_of(const Engine& engine, const Prompt& prompt) {
    EXPECT_EQ(prompt.ends, std::vector<int64_t>{prompt.n_tokens() - 1});
    return engine.tokenizer().decode(prompt.ids);
  }

  TempFolder folder_;
};

TEST_F(PromptMakerTest, SystemMessagesAreTheTemplates) {
  const Engine with = engine(std::string(kTurns));
  const std::string text = text_of(with, PromptMaker(with).ask("Be brief.", "Who?", "\nAnswer:"));
  EXPECT_THAT(text, testing::HasSubstr("Be brief."));
  EXPECT_THAT(text, testing::HasSubstr("|>Who?"));
  EXPECT_THAT(text, testing::Not(testing::HasSubstr("Answer:")));
  EXPECT_THAT(text_of(with, PromptMaker(with).ask("", "Who?", "")),
              testing::Not(testing::HasSubstr("system")));
}

TEST_F(PromptMakerTest, WithoutThemTheUserSaysBoth) {
  const Engine without = engine(
      "{% if messages[0]['role'] == 'system' %}{{ raise_exception('no system messages') }}"
      "{% endif %}" +
      std::string(kTurns));
  EXPECT_THAT(text_of(without, PromptMaker(without).ask("Be brief.", "Who?", "\nAnswer:")),
              testing::HasSubstr("|>Be brief.\n\nWho?"));
}

TEST_F(PromptMakerTest, PlainTextHasALead) {
  const Engine plain = engine("");
  const PromptMaker maker(plain);
  EXPECT_FALSE(maker.has_chat());
  EXPECT_THAT(text_of(plain, maker.ask("Be brief.", "Who?", "\nAnswer:")),
              testing::EndsWith("Be brief.\n\nWho?\nAnswer:"));
  EXPECT_EQ(maker.answer_options(7).stops, std::vector<std::string>{"\n"});
  EXPECT_EQ(maker.answer_options(7).max_tokens, 7);
  const Engine chat = engine(std::string(kTurns));
  EXPECT_TRUE(PromptMaker(chat).answer_options(7).stops.empty());
}

}  // namespace
}  // namespace chunkllm
