#include "formats/safetensors_model.h"

#include <gtest/gtest.h>

#include <nlohmann/json.hpp>

#include "testing/expect_error.h"
#include "testing/temp_folder.h"

namespace chunkllm {
namespace {

constexpr const char* kIndex = "model.safetensors.index.json";

class SafetensorsModelTest : public testing::Test {
 protected:
  void save(const std::string& file, const std::vector<std::string>& names, float value) {
    std::vector<float> values(3000, value);
    std::vector<TensorToWrite> tensors;
    for (const std::string& name : names) {
      tensors.push_back({name, DType::kF32, {3000}, std::as_bytes(std::span(values))});
    }
    write_safetensors(folder_ / file, tensors);
  }
  void save_index(const nlohmann::json& weight_map) {
    write_text(folder_ / kIndex, nlohmann::json{{"weight_map", weight_map}}.dump());
  }
  void expect_refused(ErrorCode code, const std::string& part) {
    expect_error(code, part, [&] { SafetensorsModel{folder_.path()}; });
  }
  TempFolder folder_;
};

TEST_F(SafetensorsModelTest, FindsEachTensorInItsShard) {
  save("a.safetensors", {"x", "unlisted"}, 1.0f);
  save("b.safetensors", {"y", "z"}, 2.0f);
  save_index({{"x", "a.safetensors"}, {"y", "b.safetensors"}, {"z", "b.safetensors"}});
  const SafetensorsModel model(folder_.path());
  EXPECT_EQ(model.tensors().size(), 3u);
  EXPECT_EQ(model.require_floats("x", {3000})[2999], 1.0f);
  EXPECT_EQ(model.require_floats("z", {3000})[0], 2.0f);
  EXPECT_EQ(model.find("unlisted"), nullptr);
  model.release(model.require("y", {3000}));
  EXPECT_EQ(model.require_floats("y", {3000})[1500], 2.0f) << "read again after its release";
  expect_error(ErrorCode::kData, "unlisted", [&] { model.require("unlisted", {3000}); });
  expect_error(ErrorCode::kData, "b.safetensors", [&] { model.require("z", {5}); });
}

TEST_F(SafetensorsModelTest, FilesThatTheIndexDoesNotNameAreNoPartOfIt) {
  save("a.safetensors", {"x"}, 1.0f);
  save("consolidated.safetensors", {"x", "y"}, 2.0f);
  write_text(folder_ / "broken.safetensors", "none");
  save_index({{"x", "a.safetensors"}});
  const SafetensorsModel model(folder_.path());
  EXPECT_EQ(model.tensors().size(), 1u);
  EXPECT_EQ(model.require_floats("x", {3000})[0], 1.0f);
}

TEST_F(SafetensorsModelTest, ATensorThatTheIndexLeavesOutIsMissing) {
  save("a.safetensors", {"x", "unlisted"}, 1.0f);
  save_index({{"x", "a.safetensors"}});
  const SafetensorsModel model(folder_.path());
  expect_error(ErrorCode::kData, "unlisted", [&] { model.require("unlisted", {3000}); });
}

TEST_F(SafetensorsModelTest, OneFileWinsOverAnIndex) {
  save("model.safetensors", {"x"}, 3.0f);
  save_index({{"x", "missing.safetensors"}});
  EXPECT_EQ(SafetensorsModel(folder_.path()).require_floats("x", {3000})[7], 3.0f);
}

TEST_F(SafetensorsModelTest, RefusesAnIndexThatLies) {
  expect_refused(ErrorCode::kIo, "model.safetensors");
  save("a.safetensors", {"x"}, 1.0f);
  save_index({{"x", "b.safetensors"}});
  expect_refused(ErrorCode::kIo, "b.safetensors");
  save_index({{"y", "a.safetensors"}});
  expect_refused(ErrorCode::kData, "has no tensor \"y\"");
  for (const char* path : {"../a.safetensors", "/etc/passwd", "sub/a.safetensors", "", "..", "."}) {
    save_index({{"x", path}});
    expect_refused(ErrorCode::kData, "no plain file name");
  }
  save_index({{"x", 7}});
  expect_refused(ErrorCode::kData, "no plain file name");
  save_index(nlohmann::json::object());
  expect_refused(ErrorCode::kData, "weight_map");
  save_index(nullptr);
  expect_refused(ErrorCode::kData, "weight_map");
  write_text(folder_ / kIndex, "[]");
  expect_refused(ErrorCode::kData, kIndex);
}

}  // namespace
}  // namespace chunkllm
