// Real models beside Hugging Face transformers, which ran in float32 on the dequantised weights:
// tools/make_real_golden.py made the values, script/fetch-model brings the models.
#include <gtest/gtest.h>

#include <algorithm>
#include <cctype>
#include <cmath>
#include <cstdlib>
#include <memory>

#include "base/json.h"
#include "base/mapped_file.h"
#include "base/sha256.h"
#include "engine/engine.h"
#include "engine/prompt.h"
#include "engine/session.h"
#include "model/transformer.h"

namespace chunkllm {
namespace {

using nlohmann::json;
using std::filesystem::path;

// Where script/fetch-model puts models, or CHUNKLLM_MODELS; empty if there is no such place.
path models_folder() {
  if (const char* folder = std::getenv("CHUNKLLM_MODELS")) return folder;
  if (const char* cache = std::getenv("XDG_CACHE_HOME"); cache && path(cache).is_absolute()) {
    return path(cache) / "chunkllm" / "models";
  }
  const char* home = std::getenv("HOME");
  return home ? path(home) / ".cache" / "chunkllm" / "models" : path();
}

std::string sha256_of(const path& file) {
  Sha256 hash;
  const MappedFile mapped(file);
  hash.update(std::as_bytes(mapped.bytes()));
  return hash.hex_digest();
}

int32_t best_token(std::span<const float> logits) {
  return static_cast<int32_t>(std::ranges::max_element(logits) - logits.begin());
}

std::vector<ChatMessage> messages_of(const json& chat) {
  std::vector<ChatMessage> messages;
  for (const json& message : chat.at("messages")) {
    messages.push_back({message.at("role"), message.at("content")});
  }
  return messages;
}

class GoldenRealModel : public testing::TestWithParam<const char*> {
 protected:
  void SetUp() override {
    const path file = models_folder() / (std::string(GetParam()) + ".gguf");
    if (!std::filesystem::exists(file)) {
      GTEST_SKIP() << "no " << file << "; script/fetch-model " << GetParam() << " brings it";
    }
    golden_ = read_json_file(std::string(CHUNKLLM_SOURCE_DIR "/tests/golden/real/") + GetParam() +
                             ".json");
    ASSERT_EQ(sha256_of(file), golden_.at("sha256")) << file << " is another file";
    engine_ = std::make_unique<Engine>(
        EngineOptions{.model = file, .adapters = {}, .dtype = DtypeChoice::kF32});
    engine_->load_weights();
  }

  json golden_;
  std::unique_ptr<Engine> engine_;
};

// Two float32 programs add up in other orders; a token may turn where the best two are that close.
// The hundredth part of all gaps between the best two is in each golden file (`top1_gap`).
TEST_P(GoldenRealModel, LogitsOfABook) {
  const MappedFile book(CHUNKLLM_SOURCE_DIR "/tests/golden/real/book.txt");
  const std::string text(reinterpret_cast<const char*>(book.bytes().data()), book.bytes().size());
  std::vector<int32_t> ids = text_prompt(engine_->tokenizer(), text).ids;
  const auto wanted_ids = golden_.at("ids").get<std::vector<int32_t>>();
  ASSERT_GE(ids.size(), wanted_ids.size());
  ids.resize(wanted_ids.size());
  ASSERT_EQ(ids, wanted_ids);

  const auto n = std::ssize(ids);
  KvCache cache(engine_->config(), n, KvType::kF32);
  Transformer transformer(engine_->weights(), n);
  FullRows rows;
  transformer.forward(ids, 0, cache, rows);
  const auto top1 = golden_.at("top1").get<std::vector<int32_t>>();
  const auto values = golden_.at("logits").get<std::vector<std::tuple<int64_t, size_t, double>>>();
  int64_t n_equal = 0;
  double largest = 0;
  for (int64_t t = 0; t < n; ++t) {
    const std::span<const float> logits = transformer.logits(t);
    n_equal += best_token(logits) == top1[static_cast<size_t>(t)];
    for (const auto& [position, id, value] : values) {
      if (position == t) largest = std::max(largest, std::abs(logits[id] - value));
    }
  }
  std::cout << GetParam() << ": " << n_equal << " of " << n
            << " best tokens equal, logits differ by at most " << largest << "\n";
  EXPECT_GE(static_cast<double>(n_equal), 0.99 * static_cast<double>(n));
  EXPECT_LT(largest, 2e-3);
}

TEST_P(GoldenRealModel, GreedyAnswers) {
  if (golden_.at("chats").empty()) GTEST_SKIP() << GetParam() << " has no chat template";
  for (const json& chat : golden_.at("chats")) {
    SCOPED_TRACE(chat.at("messages").dump());
    const Prompt prompt =
        chat_prompt(engine_->tokenizer(), engine_->chat_template(), messages_of(chat));
    ASSERT_EQ(prompt.ids, chat.at("prompt_ids").get<std::vector<int32_t>>());
    const auto wanted = chat.at("answer_ids").get<std::vector<int32_t>>();
    SessionOptions options;
    options.ctx = prompt.n_tokens() + std::ssize(wanted);
    Session session(*engine_, options);
    session.prefill(prompt.ids, prompt.ends);
    std::vector<int32_t> answer;
    while (answer.size() < wanted.size()) {
      answer.push_back(best_token(session.logits()));
      session.decode(answer.back());
    }
    EXPECT_EQ(answer, wanted);
  }
}

INSTANTIATE_TEST_SUITE_P(Models, GoldenRealModel,
                         testing::Values("smollm2-135m", "qwen2.5-coder-0.5b", "qwen2.5-coder-1.5b",
                                         "gemma3-270m"),
                         [](const auto& test) {
                           std::string name = test.param;
                           std::ranges::replace_if(
                               name, [](unsigned char c) { return !std::isalnum(c); }, '_');
                           return name;
                         });

}  // namespace
}  // namespace chunkllm
