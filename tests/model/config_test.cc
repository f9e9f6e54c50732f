#include "model/config.h"

#include <gtest/gtest.h>

#include <cmath>
#include <nlohmann/json.hpp>
#include <numeric>

#include "testing/expect_error.h"
#include "testing/models.h"
#include "testing/temp_folder.h"

namespace chunkllm {
namespace {

class ConfigTest : public testing::Test {
 protected:
  ModelConfig read(const nlohmann::json& changes) {
    nlohmann::json json = nlohmann::json::parse(read_text(tiny_llama() / "config.json"));
    if (changes.contains("rope_scaling")) json.erase("rope_parameters");
    json.merge_patch(changes);  // null removes a field
    write_text(folder_ / "config.json", json.dump());
    return read_model_config(folder_.path());
  }
  TempFolder folder_;
};

TEST_F(ConfigTest, ReadsBothSpellings) {
  const ModelConfig recent = read(nlohmann::json::object());
  EXPECT_EQ(recent.n_layers, 3);
  EXPECT_EQ(recent.head_dim, 24);
  EXPECT_EQ(recent.rope.theta, 10000.0);
  const ModelConfig old =
      read({{"rope_parameters", nullptr}, {"rope_theta", 5e5}, {"rope_scaling", nullptr}});
  EXPECT_EQ(old.rope.theta, 5e5);
  EXPECT_EQ(read({{"head_dim", nullptr}}).head_dim, 16) << "hidden_size / num_attention_heads";
  EXPECT_EQ(read({{"num_key_value_heads", nullptr}}).n_kv_heads, 4);
}

TEST_F(ConfigTest, EndTokensOfTheGenerationConfigWin) {
  EXPECT_EQ(read({{"eos_token_id", {1, 4}}}).eos_ids, (std::vector<int32_t>{1, 4}));
  write_text(folder_ / "generation_config.json", R"({"eos_token_id": 7})");
  EXPECT_EQ(read({{"eos_token_id", 1}}).eos_ids, (std::vector<int32_t>{7}));
}

TEST_F(ConfigTest, TooManyEndTokensAreRefused) {
  std::vector<int32_t> ids(1024);
  std::iota(ids.begin(), ids.end(), 0);
  EXPECT_EQ(read({{"eos_token_id", ids}}).eos_ids, ids);
  ids.push_back(1024);
  expect_error(ErrorCode::kData, "more than 1024 tokens end an answer", [&] {
    read({{"eos_token_id", ids}});
  });
}

TEST_F(ConfigTest, NamesWhatIsNotSupported) {
  const std::pair<nlohmann::json, const char*> cases[] = {
      {{{"model_type", "gpt2"}}, "gpt2"},
      {{{"hidden_act", "gelu"}}, "gelu"},
      {{{"sliding_window", 256}}, "sliding_window 256"},
      {{{"head_dim", 20}}, "head_dim 20"},
      {{{"layer_types", {"full_attention", "full_attention", "sliding_attention"}}}, "layer_types"},
      {{{"model_type", "mistral"},
        {"layer_types", {"full_attention", "full_attention", "chunked_attention"}}},
       "chunked_attention"},
      {{{"rope_parameters", {{"rope_type", "longrope"}}}}, "longrope"},
      {{{"rope_scaling", {{"type", "dynamic"}, {"factor", 2.0}}}}, "dynamic"},
      {{{"rope_parameters", {{"partial_rotary_factor", 0.5}}}}, "partial_rotary_factor"},
      {{{"rope_parameters", {{"full_attention", {{"rope_theta", 1e4}}}}}}, "different"},
      {{{"quantization_config", {{"bits", 4}}}}, "quantization_config"}};
  for (const auto& [changes, name] : cases) {
    expect_error(ErrorCode::kUnsupported, name, [&, &given = changes] { read(given); });
    std::filesystem::remove(folder_ / "config.json");
  }
}

// As LlamaConfig() and so on say (transformers 5.24).
TEST_F(ConfigTest, WhatIsMissingIsAsInTransformers) {
  struct Case {
    const char* family;
    int64_t n_kv_heads, max_positions, head_dim;
  };
  for (const Case& c : {Case{"llama", 32, 2048, 16}, Case{"mistral", 8, 131072, 16},
                        Case{"qwen2", 32, 32768, 16}, Case{"qwen3", 32, 32768, 128}}) {
    const ModelConfig config = read({{"model_type", c.family},
                                     {"num_attention_heads", 32},
                                     {"hidden_size", 512},
                                     {"num_key_value_heads", nullptr},
                                     {"max_position_embeddings", nullptr},
                                     {"head_dim", nullptr}});
    EXPECT_EQ(config.n_kv_heads, c.n_kv_heads) << c.family;
    EXPECT_EQ(config.max_positions, c.max_positions) << c.family;
    EXPECT_EQ(config.head_dim, c.head_dim) << c.family;
    nlohmann::json json = nlohmann::json::parse(read_text(folder_ / "config.json"));
    json["num_key_value_heads"] = nullptr;
    EXPECT_EQ(parse_model_config(json, c.family).n_kv_heads, 32) << c.family << ", null";
  }
}

TEST_F(ConfigTest, EachFamilyHasItsOwnParts) {
  const ModelConfig llama = read({{"attention_bias", true}, {"mlp_bias", true}});
  EXPECT_TRUE(llama.qkv_bias && llama.output_bias && llama.ffn_bias && !llama.qk_norm);
  const ModelConfig mistral = read({{"model_type", "mistral"}, {"sliding_window", 1 << 20}});
  EXPECT_TRUE(!mistral.qkv_bias && !mistral.output_bias && !mistral.qk_norm);
  const ModelConfig qwen2 = read({{"model_type", "qwen2"}, {"sliding_window", 64}});
  EXPECT_TRUE(qwen2.qkv_bias && !qwen2.output_bias && !qwen2.ffn_bias && !qwen2.qk_norm);
  const ModelConfig qwen3 = read({{"model_type", "qwen3"}, {"head_dim", nullptr}});
  EXPECT_TRUE(!qwen3.qkv_bias && qwen3.qk_norm);
  EXPECT_EQ(qwen3.head_dim, 128);
}

TEST_F(ConfigTest, KnowsWhichLayersSlide) {
  EXPECT_EQ(read({{"model_type", "qwen2"}, {"sliding_window", 64}}).window, 0) << "turned off";
  const ModelConfig mistral = read({{"model_type", "mistral"}, {"sliding_window", 128}});
  EXPECT_EQ(mistral.window, 128);
  EXPECT_TRUE(mistral.slides(0) && mistral.slides(2));
  EXPECT_EQ(mistral.rows_visible(1, 100), 100);
  EXPECT_EQ(mistral.rows_visible(1, 300), 128);
  const ModelConfig qwen2 = read({{"model_type", "qwen2"},
                                  {"use_sliding_window", true},
                                  {"sliding_window", 64},
                                  {"max_window_layers", 2}});
  EXPECT_TRUE(!qwen2.slides(0) && !qwen2.slides(1) && qwen2.slides(2));
  EXPECT_EQ(read({{"model_type", "mistral"}, {"sliding_window", 512}}).window, 0)
      << "a window of the whole context is none";
  expect_error(ErrorCode::kData, "each of the 3 layers", [&] {
    read({{"model_type", "mistral"}, {"layer_types", {"full_attention"}}});
  });
}

TEST_F(ConfigTest, GemmaLeavesOutWhatItsFamilyKnows) {
  const nlohmann::json text{
      {"model_type", "gemma3_text"}, {"hidden_size", 2560},
      {"intermediate_size", 10240},  {"num_hidden_layers", 34},
      {"sliding_window", 1024},      {"rope_scaling", {{"factor", 8.0}, {"rope_type", "linear"}}}};
  write_text(
      folder_ / "config.json",
      nlohmann::json{{"model_type", "gemma3"}, {"eos_token_id", {1, 106}}, {"text_config", text}}
          .dump());
  const ModelConfig config = read_model_config(folder_.path());
  EXPECT_EQ(config.model_type, "gemma3_text");
  EXPECT_EQ(config.head_dim, 256);
  EXPECT_EQ(config.n_kv_heads, 4);
  EXPECT_EQ(config.activation, Activation::kGeluTanh);
  EXPECT_TRUE(config.tied_embeddings && config.qk_norm);
  EXPECT_EQ(config.eos_ids, (std::vector<int32_t>{1, 106}));
  for (int64_t i = 0; i < config.n_layers; ++i) EXPECT_EQ(config.slides(i), i % 6 != 5) << i;
  EXPECT_EQ(config.rope_of(5).theta, 1e6);
  EXPECT_EQ(config.rope_of(5).factor, 8.0);
  EXPECT_EQ(config.rope_of(0).theta, 1e4);
  EXPECT_EQ(config.rope_of(0).kind, RopeKind::kDefault);
  for (const char* name : {"final_logit_softcapping", "use_bidirectional_attention"}) {
    nlohmann::json changed = text;
    if (std::string_view(name) == "use_bidirectional_attention") {
      changed[name] = true;
    } else {
      changed[name] = 30.0;
    }
    write_text(folder_ / "config.json", changed.dump());
    expect_error(ErrorCode::kUnsupported, name, [&] { read_model_config(folder_.path()); });
  }
  write_text(folder_ / "config.json", R"({"model_type": "gemma3", "text_config": 7})");
  expect_error(ErrorCode::kData, "text_config", [&] { read_model_config(folder_.path()); });
}

TEST_F(ConfigTest, ReadsStretchedRotaryEmbeddings) {
  const ModelConfig linear = read({{"rope_scaling", {{"type", "linear"}, {"factor", 4}}}});
  EXPECT_EQ(linear.rope.kind, RopeKind::kLinear);
  EXPECT_FLOAT_EQ(rope_inverse_frequencies(linear.rope, 24)[0], 0.25f);
  const nlohmann::json yarn{{"rope_type", "yarn"}, {"factor", 4.0}, {"rope_theta", 1e6}};
  const RopeConfig derived =
      read({{"rope_parameters", yarn}, {"max_position_embeddings", 4096}}).rope;
  EXPECT_EQ(derived.original_positions, 4096) << "where the file does not say";
  EXPECT_NEAR(derived.attention_factor, 0.1 * std::log(4.0) + 1, 1e-12);
  nlohmann::json given = yarn;
  given.update({{"attention_factor", 0.5}, {"original_max_position_embeddings", 512}});
  EXPECT_EQ(read({{"rope_parameters", given}}).rope.attention_factor, 0.5);
}

TEST_F(ConfigTest, RefusesWhatCannotBe) {
  const std::pair<nlohmann::json, const char*> cases[] = {
      {{{"num_hidden_layers", 0}}, "num_hidden_layers"},
      {{{"hidden_size", -64}}, "hidden_size"},
      {{{"hidden_size", "64"}}, "hidden_size"},
      {{{"vocab_size", 1e18}}, "vocab_size"},
      {{{"num_key_value_heads", 3}}, "num_key_value_heads"},
      {{{"intermediate_size", nullptr}}, "intermediate_size"},
      {{{"rope_parameters", {{"rope_type", "yarn"}}}}, "factor"},
      {{{"rope_parameters", {{"rope_type", "linear"}, {"factor", 0.5}}}}, "factor"},
      {{{"rope_parameters", {{"rope_type", "yarn"}, {"factor", 2.0}, {"rope_theta", 1.0}}}},
       "rope_theta"},
      {{{"rope_scaling",
         {{"rope_type", "llama3"},
          {"factor", 8.0},
          {"low_freq_factor", 4.0},
          {"high_freq_factor", 4.0}}}},
       "high_freq_factor"},
      {{{"rope_scaling", {{"type", "default"}}}, {"rope_parameters", {{"rope_theta", 1e4}}}},
       "both"},
      {{{"eos_token_id", "x"}}, "eos_token_id"}};
  for (const auto& [changes, name] : cases) {
    expect_error(ErrorCode::kData, name, [&, &given = changes] { read(given); });
  }
}

}  // namespace
}  // namespace chunkllm
