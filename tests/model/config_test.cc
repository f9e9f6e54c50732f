#include "model/config.h"

#include <gtest/gtest.h>

#include <nlohmann/json.hpp>

#include "testing/expect_error.h"
#include "testing/models.h"
#include "testing/temp_folder.h"

namespace chunkllm {
namespace {

class ConfigTest : public testing::Test {
 protected:
  ModelConfig read(const nlohmann::json& changes) {
    nlohmann::json json = nlohmann::json::parse(read_text(tiny_llama() / "config.json"));
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
  EXPECT_EQ(recent.rope_theta, 10000.0);
  const ModelConfig old =
      read({{"rope_parameters", nullptr}, {"rope_theta", 5e5}, {"rope_scaling", nullptr}});
  EXPECT_EQ(old.rope_theta, 5e5);
  EXPECT_EQ(read({{"head_dim", nullptr}}).head_dim, 16) << "hidden_size / num_attention_heads";
  EXPECT_EQ(read({{"num_key_value_heads", nullptr}}).n_kv_heads, 4);
}

TEST_F(ConfigTest, EndTokensOfTheGenerationConfigWin) {
  EXPECT_EQ(read({{"eos_token_id", {1, 4}}}).eos_ids, (std::vector<int32_t>{1, 4}));
  write_text(folder_ / "generation_config.json", R"({"eos_token_id": 7})");
  EXPECT_EQ(read({{"eos_token_id", 1}}).eos_ids, (std::vector<int32_t>{7}));
}

TEST_F(ConfigTest, NamesWhatIsNotSupported) {
  const std::pair<nlohmann::json, const char*> cases[] = {
      {{{"model_type", "gpt2"}}, "gpt2"},
      {{{"attention_bias", true}}, "attention_bias"},
      {{{"mlp_bias", true}}, "mlp_bias"},
      {{{"hidden_act", "gelu"}}, "gelu"},
      {{{"sliding_window", 4096}}, "sliding_window"},
      {{{"head_dim", 20}}, "head_dim 20"},
      {{{"rope_parameters", {{"rope_type", "yarn"}}}}, "yarn"},
      {{{"rope_scaling", {{"type", "linear"}, {"factor", 2.0}}}}, "linear"},
      {{{"quantization_config", {{"bits", 4}}}}, "quantization_config"}};
  for (const auto& [changes, name] : cases) {
    expect_error(ErrorCode::kUnsupported, name, [&] { read(changes); });
    std::filesystem::remove(folder_ / "config.json");
  }
}

TEST_F(ConfigTest, RefusesWhatCannotBe) {
  const std::pair<nlohmann::json, const char*> cases[] = {
      {{{"num_hidden_layers", 0}}, "num_hidden_layers"},
      {{{"hidden_size", -64}}, "hidden_size"},
      {{{"hidden_size", "64"}}, "hidden_size"},
      {{{"vocab_size", 1e18}}, "vocab_size"},
      {{{"num_key_value_heads", 3}}, "num_key_value_heads"},
      {{{"intermediate_size", nullptr}}, "intermediate_size"},
      {{{"eos_token_id", "x"}}, "eos_token_id"}};
  for (const auto& [changes, name] : cases) {
    expect_error(ErrorCode::kData, name, [&] { read(changes); });
  }
}

}  // namespace
}  // namespace chunkllm
