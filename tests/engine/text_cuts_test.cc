// With quantised weights what a prompt leaves behind has the same bits however it is cut into
// blocks, and whatever of it was there before: rounding to int8 would make much of a last bit.
#include <gtest/gtest.h>

#include "convert/quantize.h"
#include "engine/common_prefix.h"
#include "engine/needle_engine.h"
#include "engine/session_cases.h"
#include "kernels/attention/kernels.h"
#include "testing/models.h"
#include "testing/temp_folder.h"

namespace chunkllm {
namespace {

using test::kTokens;

struct Case {
  std::string_view policy;
  KvType kv_type;
};

class TextCuts : public testing::TestWithParam<Case> {
 protected:
  static void SetUpTestSuite() {
    folder_ = new TempFolder;
    const std::filesystem::path model = *folder_ / "q8_0.gguf";
    quantize_model({.in = needle_model(), .out = model, .type = DType::kQ8_0});
    EngineOptions options;
    options.model = model;
    options.adapters = {needle_adapter()};
    engine_ = new Engine(options);
    engine_->load_weights();
  }
  static void TearDownTestSuite() {
    delete engine_;
    delete folder_;
  }
  void SetUp() override {
    // Elsewhere blocks of many tokens meet bfloat16 weights.
    if (engine_->precision().int8_inputs != Int8Inputs::kAlways) GTEST_SKIP() << "other products";
    const bool rounds = attention_kernels().bf16_tile.attend != nullptr;
    if (rounds && GetParam().kv_type != KvType::kF32) GTEST_SKIP() << "queries meet as bf16 here";
  }
  SessionOptions options() const {
    SessionOptions options = test::small_budget();
    options.policy = &policy_named(GetParam().policy);
    options.kv_type = GetParam().kv_type;
    return options;
  }
  static std::vector<float> answered(Session& session) {
    session.decode(7);
    return test::logits_of(session);
  }

  static TempFolder* folder_;
  static Engine* engine_;
};

TempFolder* TextCuts::folder_ = nullptr;
Engine* TextCuts::engine_ = nullptr;

TEST_P(TextCuts, LeaveNoTrace) {
  Prompt prompt;
  prompt.ids = test::make_tokens(engine_->tokenizer(), kTokens);
  prompt.ends = {kTokens - 1};
  prompt.written = {{0, kTokens}};
  Session whole(*engine_, options());
  whole.prefill(prompt.ids, prompt.ends);
  const std::vector<float> expected = test::logits_of(whole);
  const std::vector<float> expected_next = answered(whole);

  for (const int64_t block : {1, 7, 50, 128}) {
    Session session(*engine_, options());
    EXPECT_EQ(test::run_in_blocks(session, prompt.ids, prompt.ends, block), expected) << block;
    EXPECT_EQ(answered(session), expected_next) << "blocks of " << block;
  }
  // A text that holds answers, and one that is scored.
  const std::vector<Range> answers{{100, 131}, {400, 700}};
  Session told(*engine_, options());
  told.prefill(prompt.ids, prompt.ends, {}, nullptr, answers);
  const std::vector<float> expected_told = test::logits_of(told);
  Session scored(*engine_, options());
  RetentionCount count;
  scored.score(
      prompt.ids, 0, [](Range, std::span<const float>) {}, count);
  const std::vector<float> expected_scored = test::logits_of(scored);
  for (const int64_t block : {9, 100}) {
    SessionOptions small = options();
    small.block_tokens = block;
    Session in_blocks(*engine_, small);
    in_blocks.prefill(prompt.ids, prompt.ends, {}, nullptr, answers);
    EXPECT_EQ(test::logits_of(in_blocks), expected_told) << "answers, blocks of " << block;
    Session scored_in_blocks(*engine_, small);
    scored_in_blocks.score(
        prompt.ids, 0, [](Range, std::span<const float>) {}, count);
    EXPECT_EQ(test::logits_of(scored_in_blocks), expected_scored) << "scored, blocks of " << block;
  }
  // Asked again, and after another question that begins alike.
  for (const int64_t n_common : {kTokens, kTokens - 5, kTokens / 2}) {
    Prompt other = prompt;
    other.ids.resize(static_cast<size_t>(n_common));
    other.ids.insert(other.ids.end(), {11, 12, 13});
    other.ends = {n_common + 2};
    for (const Prompt& asked : {other, prompt}) {
      begin_prompt(whole, asked);
      while (whole.run_some_waiting(64)) {
      }
    }
    EXPECT_EQ(test::logits_of(whole), expected) << n_common << " tokens in common";
    EXPECT_EQ(answered(whole), expected_next) << n_common << " tokens in common";
  }
}

INSTANTIATE_TEST_SUITE_P(
    Policies, TextCuts,
    testing::Values(Case{"full", KvType::kF32}, Case{"full", KvType::kBf16},
                    Case{"chunk", KvType::kF32}, Case{"chunk", KvType::kBf16},
                    Case{"streaming", KvType::kBf16}, Case{"separator", KvType::kF32},
                    Case{"meankey", KvType::kBf16}, Case{"quest", KvType::kF32}),
    [](const auto& of) { return fmt::format("{}{}", of.param.policy, of.index); });

}  // namespace
}  // namespace chunkllm
