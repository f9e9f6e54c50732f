// Layers that slide beside layers that select: Gemma 3 with made-up weights and adapters.
#include <gtest/gtest.h>

#include <functional>

#include "convert/quantize.h"
#include "engine/prompt_cache.h"
#include "engine/session.h"
#include "engine/session_cases.h"
#include "select/registry.h"
#include "testing/expect_error.h"
#include "testing/models.h"
#include "testing/relative_error.h"
#include "testing/temp_folder.h"
#include "testing/traced_chunk_policy.h"

namespace chunkllm {
namespace {

constexpr int64_t kTokens = 400;
const std::vector<int64_t> kPromptEnds{120, 250, kTokens - 1};
constexpr int64_t kGlobal = 2;  // a layer that attends to everything, as does the last

Adapter random_adapter(const ModelWeights& weights) {
  Adapter adapter;
  adapter.config = AdapterConfig::for_model(weights);
  adapter.config.selection_heads = 2;
  adapter.config.adapter_dim = 8;
  adapter.config.window = 16;
  adapter.config.max_chunk = 24;
  Rng rng(1);
  const auto fill = [&](std::vector<float>& values, int64_t n) {
    values.resize(static_cast<size_t>(n));
    for (float& value : values) value = static_cast<float>(0.3 * rng.normal());
  };
  fill(adapter.boundary_weight, adapter.config.d_model);
  adapter.boundary_bias = -2.0f;
  adapter.layers.resize(static_cast<size_t>(adapter.config.n_layers));
  for (int64_t i = 0; i < adapter.config.n_layers; ++i) {
    if (!adapter.config.selects(i)) continue;
    fill(adapter.layers[static_cast<size_t>(i)].q, 16 * adapter.config.d_model);
    fill(adapter.layers[static_cast<size_t>(i)].k, 16 * adapter.config.d_model);
  }
  return adapter;
}

class SlidingTest : public testing::Test {
 protected:
  SlidingTest() {
    engine_.load_weights();
    engine_.use_adapter(random_adapter(engine_.weights()));
    options_.policy = &policy_named("chunk");
    options_.selection.budget.n_tokens = 96;
    options_.selection.prefill_floor = 1;
    options_.ctx = 512;
    options_.kv_type = KvType::kF32;
    Rng rng(7);
    for (int64_t i = 0; i < kTokens; ++i) {
      tokens_.push_back(static_cast<int32_t>(rng.below(engine_.config().n_vocab)));
    }
  }
  std::vector<float> logits_of(const SessionOptions& options) {
    Session session(engine_, options);
    session.prefill(tokens_, kPromptEnds);
    return {session.logits().begin(), session.logits().end()};
  }
  TempFolder folder_;
  Engine engine_{{.model = tiny_gemma3(), .adapters = {}, .dtype = DtypeChoice::kF32}};
  SessionOptions options_;
  std::vector<int32_t> tokens_;
};

TEST_F(SlidingTest, NeitherSplitsNorGoingBackMatter) {
  test::SelectionTrace trace;
  Session whole(engine_, test::traced(options_));
  test::trace_of(whole).record(&trace);
  whole.prefill(tokens_, kPromptEnds);
  const std::vector<float> expected(whole.logits().begin(), whole.logits().end());
  ASSERT_LT(whole.policy().rows_attended(kGlobal), 200) << "the selection must be one";
  const auto replayed = [&](const std::function<void(Session&)>& run) {
    Session session(engine_, test::traced(options_));
    test::TraceDifferences differences;
    test::trace_of(session).replay(&trace, &differences);
    run(session);
    EXPECT_LE(relative_error(session.logits(), expected), test::kLogitsError);
    EXPECT_LE(differences.largest_boundary_gap, test::kScoreGap);
    EXPECT_LE(differences.largest_score_gap, test::kScoreGap);
  };
  for (const int64_t block : {int64_t{1}, int64_t{7}, int64_t{100}}) {
    SCOPED_TRACE(block);
    replayed([&](Session& session) { test::run_in_blocks(session, tokens_, kPromptEnds, block); });
  }
  replayed([&](Session& session) {
    session.prefill(tokens_, kPromptEnds);
    session.truncate(177);
    const std::vector<int64_t> ends{kPromptEnds[1] - 177, kPromptEnds[2] - 177};
    session.prefill(std::span(tokens_).subspan(177), ends);
  });
}

TEST_F(SlidingTest, ABudgetOfTheContextEqualsFull) {
  options_.selection.budget.n_tokens = kTokens;
  const std::vector<float> chunk = logits_of(options_);
  options_.policy = &full_policy();
  EXPECT_EQ(relative_error(chunk, logits_of(options_)), 0.0);
}

TEST_F(SlidingTest, RetentionCountsWhatSlidingLayersCanSee) {
  SessionOptions full = options_;
  full.policy = &full_policy();
  Session dense(engine_, full);
  dense.prefill(tokens_, kPromptEnds);
  RetentionCount count;
  dense.count_pass(count);
  EXPECT_EQ(count.retention_sum, 1.0) << "windows and all, everything visible is attended to";
  const auto row_bytes =
      static_cast<double>(kv_bytes_per_position(engine_.config(), KvType::kF32)) /
      static_cast<double>(engine_.config().n_layers);
  EXPECT_EQ(count.bytes_attended_sum, (4 * 20 + 2 * kTokens) * row_bytes);

  Session selecting(engine_, options_);
  selecting.prefill(tokens_, kPromptEnds);
  RetentionCount selected;
  selecting.count_pass(selected);
  double expected = 4;
  for (const int64_t layer : {kGlobal, int64_t{5}}) {
    expected += static_cast<double>(selecting.policy().rows_attended(layer)) / kTokens;
  }
  EXPECT_NEAR(selected.retention_sum, expected / 6, 1e-12);
}

TEST_F(SlidingTest, ASavedCacheServes) {
  Prompt prompt;
  prompt.ids = tokens_;
  prompt.ends = {kTokens - 1};
  options_.block_tokens = 64;
  Session session(engine_, options_);
  session.prefill(tokens_, prompt.ends);
  save_prompt_cache(folder_ / "cache", session);
  Session loaded(engine_, options_);
  EXPECT_GT(load_prompt_cache(folder_ / "cache", prompt, loaded), kTokens / 2);
  const int64_t n = loaded.n_tokens();
  const int64_t end = kTokens - 1 - n;
  loaded.prefill(std::span(tokens_).subspan(static_cast<size_t>(n)), {&end, 1});
  EXPECT_LE(relative_error(loaded.logits(), {session.logits().begin(), session.logits().end()}),
            test::kLogitsError);
}

TEST_F(SlidingTest, AdaptersHaveTensorsForTheOtherLayersAlone) {
  const Adapter& adapter = *engine_.adapters().sentence;
  EXPECT_EQ(adapter.config.first_layer, FirstLayerKind::kBackbone);
  EXPECT_EQ(adapter.config.backbone_layers, (std::vector<int64_t>{0, 1, 3, 4}));
  save_adapter(adapter, folder_.path());
  const SafetensorsFile file(folder_ / "adapter_model.safetensors");
  EXPECT_EQ(file.tensors().size(), 2u + 2 * 2);
  const Adapter loaded = load_adapter(folder_.path());
  EXPECT_EQ(loaded.config.backbone_layers, adapter.config.backbone_layers);
  EXPECT_LT(relative_error(loaded.layers[kGlobal].q, adapter.layers[kGlobal].q), 0.004) << "bf16";
  EXPECT_NO_THROW(check_adapter_fits(loaded, engine_.weights(), folder_.path()));

  // A folder may leave it to its tensors.
  nlohmann::json config = nlohmann::json::parse(read_text(folder_ / "adapter_config.json"));
  EXPECT_EQ(config["first_layer"]["kind"], "backbone");
  config.erase("backbone_layers");
  write_text(folder_ / "adapter_config.json", config.dump());
  EXPECT_EQ(load_adapter(folder_.path()).config.backbone_layers, adapter.config.backbone_layers);

  config["backbone_layers"] = {0, 1, 3};
  write_text(folder_ / "adapter_config.json", config.dump());
  expect_error(ErrorCode::kData, "layers.4", [&] { load_adapter(folder_.path()); });
  for (const nlohmann::json& wrong :
       {nlohmann::json{1, 0}, nlohmann::json{0, 6}, nlohmann::json{-1}, nlohmann::json("x")}) {
    config["backbone_layers"] = wrong;
    write_text(folder_ / "adapter_config.json", config.dump());
    expect_error(ErrorCode::kData, "backbone_layers", [&] { load_adapter(folder_.path()); });
  }
  Adapter grid = adapter;
  grid.config.first_layer = FirstLayerKind::kGrid;
  expect_error(ErrorCode::kData, "first_layer.kind is grid",
               [&] { check_adapter_fits(grid, engine_.weights(), "here"); });
}

TEST_F(SlidingTest, AFileIsTheFolder) {
  const std::filesystem::path file = folder_ / "model.gguf";
  const QuantizeResult result =
      quantize_model({.in = tiny_gemma3(), .out = file, .type = DType::kF32});
  EXPECT_FALSE(result.notices.empty()) << "others do not read the query scale";
  Engine other{{.model = file, .adapters = {}, .dtype = DtypeChoice::kF32}};
  EXPECT_EQ(other.config().sliding_layers, engine_.config().sliding_layers);
  EXPECT_EQ(other.config().window, 20);
  EXPECT_EQ(other.config().model_type, "gemma3_text");
  EXPECT_EQ(other.config().rope, engine_.config().rope);
  EXPECT_EQ(other.config().sliding_rope, engine_.config().sliding_rope);
  other.load_weights();
  other.use_adapter(*engine_.adapters().sentence);  // norms are hashed as they are applied
  const std::vector<float> expected = logits_of(options_);
  Session session(other, options_);
  session.prefill(tokens_, kPromptEnds);
  EXPECT_LE(relative_error(session.logits(), expected), 1e-6);
}

// The text part of a larger model has other names around it.
TEST_F(SlidingTest, AModelInsideALargerOneIsTheSame) {
  nlohmann::json text = nlohmann::json::parse(read_text(tiny_gemma3() / "config.json"));
  const nlohmann::json config{{"model_type", "gemma3"}, {"text_config", text}};
  write_text(folder_ / "config.json", config.dump());
  const SafetensorsFile file(tiny_gemma3() / "model.safetensors");
  for (const std::string prefix : {"language_model.model.", "model.language_model."}) {
    SCOPED_TRACE(prefix);
    std::vector<TensorToWrite> tensors;
    for (const auto& [name, tensor] : file.tensors()) {
      tensors.push_back(
          {prefix + name.substr(6), tensor.dtype, tensor.shape, std::as_bytes(tensor.bytes)});
    }
    const std::vector<float> foreign(8, 1.0f);
    tensors.push_back(
        {"vision_tower.fc.bias", DType::kF32, {8}, std::as_bytes(std::span(foreign))});
    write_safetensors(folder_ / "model.safetensors", std::move(tensors), {});
    EXPECT_EQ(load_weights(folder_.path(), kF32Precision).fingerprint(),
              engine_.weights().fingerprint());
  }
}

}  // namespace
}  // namespace chunkllm
