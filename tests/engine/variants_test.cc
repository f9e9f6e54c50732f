// The same invariance for every kind of first layer, chunk key, chunk, refresh and budget.
#include <gtest/gtest.h>

#include <functional>
#include <nlohmann/json.hpp>

#include "engine/session_cases.h"
#include "testing/models.h"
#include "testing/relative_error.h"
#include "testing/temp_folder.h"
#include "testing/traced_chunk_policy.h"

namespace chunkllm {
namespace {

struct Variant {
  const char* name;
  nlohmann::json adapter_changes;
  std::function<void(SelectionSettings&)> change_settings;
};

void PrintTo(const Variant& variant, std::ostream* out) { *out << variant.name; }

std::vector<Variant> variants() {
  const auto same = [](SelectionSettings&) {};
  return {
      {"WindowFirst", {{"first_layer", {{"kind", "window"}, {"window", 64}}}}, same},
      {"DenseFirst", {{"first_layer", {{"kind", "dense"}}}}, same},
      {"MeanKeys", {{"chunk_key", "mean"}}, same},
      {"DistanceTerm", {{"distance_term", true}, {"version", 2}}, same},
      {"FixedChunks", {{"chunks", {{"fixed", 24}}}}, same},
      {"EverySixteen", nlohmann::json::object(),
       [](SelectionSettings& s) {
         s.refresh = RefreshKind::kEvery;
         s.refresh_every = 16;
       }},
      {"BoundariesOnly", nlohmann::json::object(),
       [](SelectionSettings& s) { s.refresh = RefreshKind::kBoundary; }},
      {"PromptEndsAndBoundaries", nlohmann::json::object(),
       [](SelectionSettings& s) { s.refresh = RefreshKind::kPromptEnd; }},
      {"Fraction", nlohmann::json::object(),
       [](SelectionSettings& s) {
         s.budget.fraction = 0.2;
         s.budget.min_tokens = 128;
       }},
      {"TopK", nlohmann::json::object(), [](SelectionSettings& s) { s.budget.top_k_chunks = 6; }},
      {"Previous", nlohmann::json::object(),
       [](SelectionSettings& s) { s.prefill_selection = PrefillSelection::kPrevious; }},
      {"PrefillBudget",
       {{"min_chunk", 8}, {"max_chunk", 40}},
       [](SelectionSettings& s) {
         s.prefill_budget = KvBudget::parse("400");
         s.prompt_tail = 23;
       }},
      {"MeanKeysOfShortChunksInAFullPrefill",
       {{"chunk_key", "mean"}, {"min_chunk", 4}},
       [](SelectionSettings& s) { s.prefill = PrefillKind::kFull; }},
      {"Remainder", nlohmann::json::object(), [](SelectionSettings& s) { s.remainder = true; }},
      {"LayerShares",
       {{"layer_shares", {0.5, 0.4, 1.5, 0.8, 0.3, 2.5}}},
       [](SelectionSettings& s) { s.layer_budgets = true; }},
      {"SinkAndWindow", nlohmann::json::object(),
       [](SelectionSettings& s) {
         s.sink = 50;
         s.window = 7;
       }},
  };
}

class VariantTest : public testing::TestWithParam<Variant> {
 protected:
  VariantTest() {
    Adapter adapter = load_adapter(needle_adapter());
    if (GetParam().adapter_changes.contains("distance_term")) {
      // The last component of keys makes room.
      for (QkAdapter& layer : adapter.layers) {
        std::fill_n(layer.k.end() - adapter.config.d_model, adapter.config.d_model, 0.0f);
      }
    }
    save_adapter(adapter, folder_.path());
    nlohmann::json config = nlohmann::json::parse(read_text(folder_ / "adapter_config.json"));
    config.update(GetParam().adapter_changes);
    write_text(folder_ / "adapter_config.json", config.dump());
    EngineOptions options;
    options.model = needle_model();
    options.adapters = {folder_.path()};
    options.dtype = DtypeChoice::kF32;
    engine_.emplace(options);
    engine_->load_weights();
    options_.policy = &default_policy(engine_->adapters());
    options_.selection.budget.n_tokens = 256;
    options_.selection.prefill_floor = 1;
    options_.ctx = 2048;
    options_.kv_type = KvType::kF32;
    GetParam().change_settings(options_.selection);
  }
  TempFolder folder_;
  std::optional<Engine> engine_;
  SessionOptions options_;
};

TEST_P(VariantTest, NeitherSplitsNorGoingBackMatter) {
  const std::vector<int32_t> tokens = test::make_tokens(engine_->tokenizer(), test::kTokens);
  test::SelectionTrace trace;
  Session whole(*engine_, test::traced(options_));
  test::trace_of(whole).record(&trace);
  whole.prefill(tokens, test::kPromptEnds);
  const std::vector<float> expected(whole.logits().begin(), whole.logits().end());
  ASSERT_LT(whole.policy().rows_attended(3), 800) << "the selection must be one";

  const auto replayed = [&](const std::function<void(Session&)>& run) {
    Session session(*engine_, test::traced(options_));
    test::TraceDifferences differences;
    test::trace_of(session).replay(&trace, &differences);
    run(session);
    EXPECT_LE(relative_error(session.logits(), expected), test::kLogitsError);
    EXPECT_LE(differences.largest_boundary_gap, test::kScoreGap);
    EXPECT_LE(differences.largest_score_gap, test::kScoreGap);
    EXPECT_EQ(session.policy().n_refreshes(), whole.policy().n_refreshes());
    EXPECT_EQ(session.policy().n_chunks(), whole.policy().n_chunks());
    for (int64_t layer = 0; layer < 6; ++layer) {
      EXPECT_EQ(session.policy().rows_attended(layer), whole.policy().rows_attended(layer));
    }
  };
  for (const int64_t block : {int64_t{7}, int64_t{100}}) {
    SCOPED_TRACE(block);
    replayed(
        [&](Session& session) { test::run_in_blocks(session, tokens, test::kPromptEnds, block); });
  }
  replayed([&](Session& session) {
    session.prefill(tokens, test::kPromptEnds);
    session.rewind(777);
    EXPECT_GE(session.n_done(), 777 - 2 * 128 - test::kTail) << "whole chunks run again, no more";
    session.truncate(777);
    const std::vector<int64_t> ends{test::kPromptEnds[1] - 777, test::kPromptEnds[2] - 777};
    session.prefill(std::span(tokens).subspan(777), ends);
  });
}

TEST_P(VariantTest, ABudgetOfTheContextIsFullAttention) {
  const std::vector<int32_t> tokens = test::make_tokens(engine_->tokenizer(), test::kTokens);
  options_.selection.budget = KvBudget();
  options_.selection.budget.n_tokens = test::kTokens;
  Session session(*engine_, options_);
  session.prefill(tokens, test::kPromptEnds);
  EXPECT_EQ(session.prefill_count().retention(), 1.0);
  options_.policy = &full_policy();
  Session dense(*engine_, options_);
  dense.prefill(tokens, test::kPromptEnds);
  EXPECT_LE(relative_error(session.logits(), dense.logits()), 1e-5);
}

INSTANTIATE_TEST_SUITE_P(Kinds, VariantTest, testing::ValuesIn(variants()),
                         [](const auto& variant) { return variant.param.name; });

}  // namespace
}  // namespace chunkllm
