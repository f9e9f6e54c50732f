#include "select/chunk/adapter.h"

#include <gtest/gtest.h>

#include <cmath>
#include <nlohmann/json.hpp>

#include "base/bf16.h"
#include "base/random.h"
#include "testing/expect_error.h"
#include "testing/models.h"
#include "testing/temp_folder.h"

namespace chunkllm {
namespace {

Adapter random_adapter(const ModelWeights& weights) {
  Adapter adapter;
  adapter.config = AdapterConfig::for_model(weights);
  adapter.config.selection_heads = 2;
  adapter.config.adapter_dim = 8;
  Rng rng(1);
  const auto fill = [&](std::vector<float>& values, int64_t n) {
    values.resize(static_cast<size_t>(n));
    for (float& value : values) value = static_cast<float>(rng.normal());
  };
  fill(adapter.boundary_weight, adapter.config.d_model);
  adapter.boundary_bias = 0.25f;
  adapter.layers.resize(static_cast<size_t>(adapter.config.n_layers));
  for (QkAdapter& layer : adapter.layers) {
    fill(layer.q, 16 * adapter.config.d_model);
    fill(layer.k, 16 * adapter.config.d_model);
  }
  return adapter;
}

std::vector<float> in_bf16(std::vector<float> values) {
  for (float& value : values) value = to_float(to_bf16(value));
  return values;
}

class AdapterTest : public testing::Test {
 protected:
  // Rewrites one field of the saved config.
  void edit_config(const char* field, const nlohmann::json& value) {
    nlohmann::json json = nlohmann::json::parse(read_text(folder_ / "adapter_config.json"));
    json[field] = value;
    write_text(folder_ / "adapter_config.json", json.dump());
  }
  ModelWeights weights_ = load_weights(tiny_llama(), kF32Precision);
  Adapter adapter_ = random_adapter(weights_);
  TempFolder folder_;
};

TEST_F(AdapterTest, ComesBackAsItWasSaved) {
  adapter_.config.first_layer_tokens = 16;
  adapter_.config.layer_shares = {0.5, 1.5, 1};
  adapter_.config.training = R"({"steps":7,"losses":{"kl":0.5}})";
  save_adapter(adapter_, folder_.path());
  const Adapter loaded = load_adapter(folder_.path());
  EXPECT_EQ(loaded.boundary_weight, adapter_.boundary_weight);
  EXPECT_EQ(loaded.boundary_bias, adapter_.boundary_bias);
  for (size_t i = 0; i < adapter_.layers.size(); ++i) {
    EXPECT_EQ(loaded.layers[i].q, in_bf16(adapter_.layers[i].q));
    EXPECT_EQ(loaded.layers[i].k, in_bf16(adapter_.layers[i].k));
  }
  EXPECT_EQ(loaded.config.first_layer_tokens, 16);
  EXPECT_EQ(nlohmann::json::parse(loaded.config.training),
            nlohmann::json::parse(adapter_.config.training));
  EXPECT_EQ(loaded.config.layer_shares, adapter_.config.layer_shares);
  EXPECT_EQ(loaded.config.window, adapter_.config.window);
  EXPECT_EQ(loaded.config.min_chunk, 8);
  EXPECT_EQ(loaded.config.selection_heads, 2);
  EXPECT_EQ(loaded.config.chunk_key, ChunkKey::kMean);
  save_adapter(loaded, folder_.path());
  EXPECT_EQ(load_adapter(folder_.path()).layers[1].k, loaded.layers[1].k) << "rounded once";
  EXPECT_NO_THROW(check_adapter_fits(loaded, weights_, folder_.path()));
}

TEST_F(AdapterTest, ADistanceTermTakesThePlaceOfTheKeysLastComponent) {
  const auto version = [&] {
    return nlohmann::json::parse(read_text(folder_ / "adapter_config.json"))["version"];
  };
  save_adapter(adapter_, folder_.path());
  EXPECT_EQ(version(), 1) << "older programs read what needs nothing newer";
  EXPECT_FALSE(load_adapter(folder_.path()).config.distance_term);
  adapter_.config.distance_term = true;
  save_adapter(adapter_, folder_.path());
  EXPECT_EQ(version(), 2);
  // Of each head.
  for (const int64_t row : {15, 7}) {
    expect_error(ErrorCode::kData,
                 "last row of each head in layers.0.k_adapter.weight must be zero",
                 [&] { load_adapter(folder_.path()); });
    for (QkAdapter& layer : adapter_.layers) {
      std::fill_n(layer.k.begin() + row * adapter_.config.d_model, adapter_.config.d_model, 0.0f);
    }
    save_adapter(adapter_, folder_.path());
  }
  EXPECT_TRUE(load_adapter(folder_.path()).config.distance_term);
  edit_config("distance_term", false);
  expect_error(ErrorCode::kData, "do not go together", [&] { load_adapter(folder_.path()); });
  edit_config("distance_term", true);
  edit_config("version", 1);
  expect_error(ErrorCode::kData, "do not go together", [&] { load_adapter(folder_.path()); });
  edit_config("version", 2);
  edit_config("adapter_dim", 1);
  expect_error(ErrorCode::kData, "adapter_dim 1", [&] { load_adapter(folder_.path()); });
}

TEST_F(AdapterTest, AFolderThatDoesNotNameItsLeastChunkHasNone) {
  save_adapter(adapter_, folder_.path());
  nlohmann::json json = nlohmann::json::parse(read_text(folder_ / "adapter_config.json"));
  json.erase("min_chunk");
  write_text(folder_ / "adapter_config.json", json.dump());
  EXPECT_EQ(load_adapter(folder_.path()).config.min_chunk, 1);
}

TEST_F(AdapterTest, AnotherModelIsNamed) {
  adapter_.config.fingerprint[0] = adapter_.config.fingerprint[0] == '0' ? '1' : '0';
  expect_error(ErrorCode::kData, "fingerprint",
               [&] { check_adapter_fits(adapter_, weights_, folder_.path()); });
  adapter_.config.n_layers = 2;
  expect_error(ErrorCode::kData, "number of layers is 2",
               [&] { check_adapter_fits(adapter_, weights_, folder_.path()); });
}

TEST_F(AdapterTest, ValuesThatAreNotFiniteAreRefused) {
  adapter_.layers[1].k[5] = NAN;
  save_adapter(adapter_, folder_.path());
  expect_error(ErrorCode::kData, "layers.1.k_adapter.weight",
               [&] { load_adapter(folder_.path()); });
}

TEST_F(AdapterTest, FieldsThatLieAreNamed) {
  save_adapter(adapter_, folder_.path());
  const std::pair<const char*, nlohmann::json> lies[] = {{"format", "other"},
                                                         {"adapter_dim", 0},
                                                         {"adapter_dim", "x"},
                                                         {"alpha", 1.5},
                                                         {"selection_heads", 0},
                                                         {"selection_heads", 65},
                                                         {"selection_heads", 3},
                                                         {"max_chunk", 0},
                                                         {"min_chunk", 0},
                                                         {"window", -1},
                                                         {"chunk_key", "last"},
                                                         {"first_layer", "grid"},
                                                         {"chunks", 3},
                                                         {"sink", 1e300},
                                                         {"hidden_size", 63},
                                                         {"num_hidden_layers", 4},
                                                         {"layer_shares", 1},
                                                         {"layer_shares", {1, 1}},
                                                         {"layer_shares", {1, 1, 2}},
                                                         {"layer_shares", {1, 2, 0}},
                                                         {"layer_shares", {1, 1, "1"}},
                                                         {"layer_shares", {-1, 2, 2}}};
  const std::string original = read_text(folder_ / "adapter_config.json");
  for (const auto& [field, value] : lies) {
    edit_config(field, value);
    EXPECT_THROW(load_adapter(folder_.path()), Error) << field << " " << value;
    write_text(folder_ / "adapter_config.json", original);
  }
  EXPECT_NO_THROW(load_adapter(folder_.path()));
  edit_config("version", 99);
  expect_error(ErrorCode::kUnsupported, "version 99", [&] { load_adapter(folder_.path()); });
}

TEST_F(AdapterTest, SharesOfLayersAreInTheDigest) {
  const std::string before = adapter_digest(adapter_);
  adapter_.config.layer_shares = {0.5, 1.5, 1};
  EXPECT_NE(adapter_digest(adapter_), before);
}

TEST_F(AdapterTest, MissingFilesAreNamed) {
  expect_error(ErrorCode::kIo, "adapter_config.json", [&] { load_adapter(folder_.path()); });
  save_adapter(adapter_, folder_.path());
  std::filesystem::remove(folder_ / "adapter_model.safetensors");
  expect_error(ErrorCode::kIo, "adapter_model.safetensors", [&] { load_adapter(folder_.path()); });
}

}  // namespace
}  // namespace chunkllm
