// The policy `fixed`, with its own adapter beside that of `chunk`.
#include <gtest/gtest.h>

#include <nlohmann/json.hpp>

#include "engine/needle_engine.h"
#include "engine/prompt_cache.h"
#include "engine/session_cases.h"
#include "testing/expect_error.h"
#include "testing/relative_error.h"
#include "testing/temp_folder.h"

namespace chunkllm {
namespace {

using test::kPromptEnds;
using test::kTokens;
using test::needle_engine;

constexpr int64_t kChunk = 24;

class FixedPolicyTest : public testing::Test {
 protected:
  FixedPolicyTest() : tokens_(test::make_tokens(needle_engine().tokenizer(), kTokens)) {
    save_adapter(load_adapter(needle_adapter()), folder_.path());
    nlohmann::json config = nlohmann::json::parse(read_text(folder_ / "adapter_config.json"));
    config["chunks"] = {{"fixed", kChunk}};
    write_text(folder_ / "adapter_config.json", config.dump());
  }
  Engine engine_with(std::vector<std::filesystem::path> adapters) const {
    Engine engine(
        {.model = needle_model(), .adapters = std::move(adapters), .dtype = DtypeChoice::kF32});
    engine.load_weights();
    return engine;
  }
  static SessionOptions options_of(const char* policy, int64_t budget = 256) {
    SessionOptions options = test::small_budget(PrefillKind::kChunk, budget);
    options.policy = &policy_named(policy);
    return options;
  }
  std::vector<float> logits_of(const Engine& engine, const char* policy,
                               int64_t budget = 256) const {
    Session session(engine, options_of(policy, budget));
    session.prefill(tokens_, kPromptEnds);
    return {session.logits().begin(), session.logits().end()};
  }

  TempFolder folder_;
  std::vector<int32_t> tokens_;
};

TEST_F(FixedPolicyTest, EachPolicyRunsAsWithItsAdapterAlone) {
  const Engine both = engine_with({folder_.path(), needle_adapter()});
  const Engine alone = engine_with({folder_.path()});
  EXPECT_EQ(logits_of(both, "fixed"), logits_of(alone, "fixed"));
  EXPECT_EQ(logits_of(both, "chunk"), logits_of(needle_engine(), "chunk"));
  EXPECT_GT(relative_error(logits_of(both, "fixed"), logits_of(both, "chunk")), 1e-3);
  EXPECT_EQ(both.adapter_folder(AdapterKind::kFixed), folder_.path());
  EXPECT_EQ(both.adapter_folder(AdapterKind::kSentence), needle_adapter());
  expect_error(ErrorCode::kInvalidArgument, "or --policy fixed",
               [&] { Session(alone, options_of("chunk")); });
  expect_error(ErrorCode::kInvalidArgument, "both have fixed chunks", [&] {
    engine_with({folder_.path(), folder_.path()});
  });
}

TEST_F(FixedPolicyTest, ChunksEndByTheirLengthAndABudgetOfEverythingIsFull) {
  const Engine engine = engine_with({folder_.path()});
  std::vector<int32_t> plain(600, tokens_[100]);
  Session session(engine, options_of("fixed", 128));
  session.prefill(plain, std::vector<int64_t>{599});
  EXPECT_EQ(session.policy().n_chunks(), 600 / kChunk);
  EXPECT_LE(session.policy().rows_attended(3), 128);
  EXPECT_LE(relative_error(logits_of(engine, "fixed", 2048), logits_of(engine, "full")), 1e-5);
}

TEST_F(FixedPolicyTest, ASavedCacheKnowsItsOwnAdapter) {
  const Engine both = engine_with({needle_adapter(), folder_.path()});
  Session session(both, options_of("fixed"));
  session.prefill(tokens_, kPromptEnds);
  save_prompt_cache(folder_ / "saved.cache", session);
  Prompt prompt;
  prompt.ids = tokens_;
  prompt.ends = kPromptEnds;
  const Engine alone = engine_with({folder_.path()});
  Session loaded(alone, options_of("fixed"));
  EXPECT_GT(load_prompt_cache(folder_ / "saved.cache", prompt, loaded), kTokens / 2);
  Session other(both, options_of("chunk"));
  expect_error(ErrorCode::kData, "--policy",
               [&] { load_prompt_cache(folder_ / "saved.cache", prompt, other); });
}

}  // namespace
}  // namespace chunkllm
