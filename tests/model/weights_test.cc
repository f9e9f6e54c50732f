#include "model/weights.h"

#include <gtest/gtest.h>

#include <cmath>
#include <cstring>
#include <functional>

#include "model/kv_cache.h"
#include "testing/expect_error.h"
#include "testing/models.h"
#include "testing/temp_folder.h"

namespace chunkllm {
namespace {

// The tiny model with some of its tensors left out, renamed or changed.
class WeightsTest : public testing::Test {
 protected:
  using Edit = std::function<bool(TensorToWrite&, std::vector<std::byte>&)>;

  // Saves a copy; `edit` returns false for a tensor to be left out.
  void save_edited(const Edit& edit) {
    const SafetensorsFile file(tiny_llama() / "model.safetensors");
    std::vector<std::vector<std::byte>> storage;
    std::vector<TensorToWrite> tensors;
    storage.reserve(file.tensors().size());
    for (const auto& [name, view] : file.tensors()) {
      const auto bytes = std::as_bytes(view.bytes);
      storage.emplace_back(bytes.begin(), bytes.end());
      TensorToWrite tensor{name, view.dtype, view.shape, {}};
      if (!edit(tensor, storage.back())) continue;
      tensor.bytes = storage.back();
      tensors.push_back(tensor);
    }
    write_safetensors(folder_ / "model.safetensors", tensors);
    std::filesystem::copy_file(tiny_llama() / "config.json", folder_ / "config.json",
                               std::filesystem::copy_options::overwrite_existing);
  }
  void expect_refused(ErrorCode code, const std::string& part, const Edit& edit) {
    save_edited(edit);
    expect_error(code, part, [&] { load_weights(folder_.path(), kF32Precision); });
  }
  TempFolder folder_;
};

TEST_F(WeightsTest, AMissingTensorIsNamed) {
  expect_refused(
      ErrorCode::kData, "model.layers.1.mlp.up_proj.weight",
      [](TensorToWrite& t, auto&) { return t.name != "model.layers.1.mlp.up_proj.weight"; });
}

TEST_F(WeightsTest, AWrongShapeIsNamed) {
  expect_refused(ErrorCode::kData, "self_attn.q_proj.weight", [](TensorToWrite& t, auto&) {
    if (t.name.ends_with("layers.0.self_attn.q_proj.weight")) std::swap(t.shape[0], t.shape[1]);
    return true;
  });
}

TEST_F(WeightsTest, AWrongTypeIsNamed) {
  expect_refused(ErrorCode::kUnsupported, "I32",
                 [](TensorToWrite& t, std::vector<std::byte>& bytes) {
                   if (t.name == "lm_head.weight") {
                     t.dtype = DType::kI32;
                     bytes.resize(bytes.size() * 2);
                   }
                   return true;
                 });
}

TEST_F(WeightsTest, ABiasThatTheConfigDoesNotAnnounceIsRefused) {
  expect_refused(ErrorCode::kUnsupported, "q_proj.bias", [](TensorToWrite& t, auto&) {
    if (t.name == "lm_head.weight") t.name = "model.layers.0.self_attn.q_proj.bias";
    return true;
  });
}

TEST_F(WeightsTest, ANormThatIsNotFiniteIsRefused) {
  expect_refused(ErrorCode::kData, "model.norm.weight",
                 [](TensorToWrite& t, std::vector<std::byte>& bytes) {
                   if (t.name == "model.norm.weight") {
                     const uint16_t nan = 0x7fc0;
                     std::memcpy(bytes.data() + 4, &nan, sizeof(nan));
                   }
                   return true;
                 });
}

TEST_F(WeightsTest, TheFingerprintKnowsNormsAndShapeAlone) {
  const std::string original = load_weights(tiny_llama(), kF32Precision).fingerprint();
  EXPECT_EQ(original.size(), 64u);
  save_edited([](TensorToWrite& t, std::vector<std::byte>& bytes) {
    if (t.name == "lm_head.weight") bytes[100] ^= std::byte{1};
    return true;
  });
  EXPECT_EQ(load_weights(folder_.path(), kF32Precision).fingerprint(), original);
  save_edited([](TensorToWrite& t, std::vector<std::byte>& bytes) {
    if (t.name == "model.layers.2.input_layernorm.weight") bytes[0] ^= std::byte{1};
    return true;
  });
  EXPECT_NE(load_weights(folder_.path(), kF32Precision).fingerprint(), original);
}

TEST(KvCache, StoresWhatItIsGiven) {
  const ModelConfig config = read_model_config(tiny_llama());
  for (const KvType type : {KvType::kF32, KvType::kBf16, KvType::kF16}) {
    KvCache cache(config, 10, type);
    EXPECT_EQ(cache.reserved_bytes(), 10 * 3 * 2 * 2 * kv_row_bytes(type, 24));
    const int64_t stride = 2 * config.kv_dim();
    std::vector<float> rows(static_cast<size_t>(3 * stride));
    for (size_t i = 0; i < rows.size(); ++i)
      rows[i] = static_cast<float>(i % 128);  // exact in bf16
    cache.store(1, 4, 3, rows.data(), rows.data() + config.kv_dim(), stride);
    const KvLayerView view = cache.layer(1);
    for (int64_t head = 0; head < 2; ++head) {
      for (int64_t t = 0; t < 3; ++t) {
        const int64_t at = (head * view.capacity + 4 + t) * view.head_dim;
        std::vector<float> key(24);
        convert_to_float(
            type == KvType::kF32   ? DType::kF32
            : type == KvType::kF16 ? DType::kF16
                                   : DType::kBf16,
            static_cast<const std::byte*>(view.keys) + at / 24 * kv_row_bytes(type, 24), 24,
            key.data());
        for (int64_t i = 0; i < 24; ++i) {
          EXPECT_EQ(key[static_cast<size_t>(i)],
                    rows[static_cast<size_t>(t * stride + head * 24 + i)]);
        }
      }
    }
    expect_error(ErrorCode::kInvalidArgument, "q8_0 needs a head_dim",
                 [&] { KvCache(config, 10, KvType::kQ8_0); });
    expect_error(ErrorCode::kInvalidArgument, "position 10",
                 [&] { cache.store(0, 8, 3, rows.data(), rows.data(), stride); });
  }
}

}  // namespace
}  // namespace chunkllm
