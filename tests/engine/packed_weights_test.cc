// Copies of packed weights change how fast a model loads, and nothing else.
#include "model/packed_weights.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <chrono>
#include <filesystem>
#include <fstream>
#include <functional>
#include <span>
#include <string>
#include <vector>

#include "convert/quantize.h"
#include "model/transformer.h"
#include "model/weights.h"
#include "testing/expect_error.h"
#include "testing/file_size_limit.h"
#include "testing/models.h"
#include "testing/temp_folder.h"

namespace chunkllm {
namespace {

namespace fs = std::filesystem;

class PackedCopy : public testing::Test {
 protected:
  // `source` in Q8_0, written at `model_`.
  void write_model(const fs::path& source = tiny_llama()) {
    fs::remove(model_);
    quantize_model({.in = source, .out = model_, .type = DType::kQ8_0});
  }
  ModelWeights load() const { return load_weights(model_, kF32Precision, copies_); }
  // Logits of the last of some tokens.
  static std::vector<float> logits_of(const ModelWeights& weights) {
    const std::vector<int32_t> tokens{3, 1, 4, 1, 5, 9, 2, 6};
    const auto n = std::ssize(tokens);
    KvCache cache(weights.config, n, KvType::kF32);
    Transformer transformer(weights, n);
    FullRows rows;
    transformer.forward(tokens, 0, cache, rows);
    const std::span<const float> row = transformer.logits(n - 1);
    return {row.begin(), row.end()};
  }
  // Without a copy.
  std::vector<float> expected() const { return logits_of(load_weights(model_, kF32Precision)); }

  // A copy is made, and made only once.
  fs::path keep() const {
    ModelWeights weights = load();
    EXPECT_TRUE(weights.copy->save());
    EXPECT_FALSE(weights.copy->save());
    return weights.copy->path();
  }
  // What is at the copy's path is no copy of the model as it is now: it loads all the same, and a
  // copy takes its place.
  void expect_replaced() const {
    {
      ModelWeights weights = load();
      EXPECT_EQ(logits_of(weights), expected());
      EXPECT_TRUE(weights.copy->save());
    }
    expect_used();
  }
  void expect_used() const {
    ModelWeights weights = load();
    EXPECT_EQ(logits_of(weights), expected());
    EXPECT_FALSE(weights.copy->save());
    EXPECT_GT(weights.copy->size_bytes(), 0);
  }

  const TempFolder folder_;
  const fs::path model_ = folder_ / "model.gguf";
  PackedFolder copies_{.path = folder_ / "copies", .least_bytes = 1};
};

TEST_F(PackedCopy, IsTheModel) {
  write_model();
  ModelWeights first = load();
  EXPECT_EQ(logits_of(first), expected());
  EXPECT_TRUE(first.copy->save());
  expect_used();
  EXPECT_EQ(load().packed_bytes(), first.packed_bytes());
}

TEST_F(PackedCopy, IsUsedOnlyWhileTheModelIsTheSame) {
  write_model();
  const fs::path copy = keep();
  const std::vector<float> before = expected();
  write_model(needle_model());
  EXPECT_NE(before, expected());
  expect_replaced();
  EXPECT_EQ(fs::directory_iterator(copies_.path)->path(), copy) << "one file a model";

  // The same size at the same time, and another byte.
  const fs::file_time_type time = fs::last_write_time(model_);
  std::string bytes = read_text(model_);
  bytes[bytes.size() - 1000] ^= 1;
  std::fstream(model_, std::ios::in | std::ios::out).write(bytes.data(), std::ssize(bytes));
  fs::last_write_time(model_, time);
  expect_replaced();
}

TEST_F(PackedCopy, ThatIsDamagedIsMadeAnew) {
  write_model();
  const fs::path copy = keep();
  const std::string whole = read_text(copy);
  const auto damaged = [&](const std::function<void(std::string&)>& damage) {
    std::string bytes = whole;
    damage(bytes);
    write_text(copy, bytes);
    expect_replaced();
  };
  for (const size_t from_end : {1u, 5000u, 50000u}) {
    damaged([&](std::string& bytes) { bytes[bytes.size() - from_end] ^= 4; });
  }
  damaged([](std::string& bytes) { bytes[0] ^= 4; });    // length of the header
  damaged([](std::string& bytes) { bytes[200] ^= 4; });  // a name in it
  damaged([](std::string& bytes) { bytes.resize(bytes.size() / 2); });
  damaged([](std::string& bytes) { bytes.clear(); });
  damaged([](std::string& bytes) { bytes += 'x'; });
  // A link: the file that it leads to stays.
  fs::remove(copy);
  write_text(folder_ / "other", "of another program");
  fs::create_symlink(folder_ / "other", copy);
  expect_replaced();
  EXPECT_EQ(read_text(folder_ / "other"), "of another program");
  EXPECT_FALSE(fs::is_symlink(copy));
  // Two matrices of one size change places.
  damaged([](std::string& bytes) {
    const size_t first = bytes.find("\"000000");
    const size_t other = bytes.find("\"000004");
    ASSERT_LT(std::max(first, other), bytes.size());
    std::swap(bytes[first + 6], bytes[other + 6]);
  });
}

TEST_F(PackedCopy, IsNotKeptOfLittleOrOfTooMuch) {
  write_model();
  EXPECT_FALSE(load_weights(model_, kF32Precision).copy) << "unless a folder is named";
  copies_.least_bytes = PackedFolder().least_bytes;
  EXPECT_FALSE(load().copy->save());
  copies_ = {.path = copies_.path, .least_bytes = 1, .most_bytes = 1000};
  EXPECT_FALSE(load().copy->save());
  EXPECT_FALSE(fs::exists(copies_.path));
  // A folder's weights have floating types, which are converted.
  EXPECT_FALSE(load_weights(tiny_llama(), kF32Precision, copies_).copy);
}

TEST_F(PackedCopy, MakesRoomByThoseUsedLongestAgo) {
  write_model();
  const fs::path copy = keep();
  const auto size = static_cast<int64_t>(fs::file_size(copy));
  const auto hour = std::chrono::hours(1);
  const auto other = [&](const char* name, int hours) {
    const fs::path path = copies_.path / name;
    fs::copy_file(copy, path);
    fs::last_write_time(path, fs::last_write_time(copy) - hours * hour);
    return path;
  };
  const fs::path oldest = other("a.packed", 3);
  const fs::path old = other("b.packed", 2);
  const fs::path own = copies_.path / "c.text";  // none of ours
  write_text(own, std::string(static_cast<size_t>(size), ' '));
  copies_.most_bytes = 2 * size + 1000;
  write_model(needle_model());
  copies_.most_bytes += load().copy->size_bytes() - size;
  keep();
  EXPECT_FALSE(fs::exists(oldest));
  EXPECT_TRUE(fs::exists(old));
  EXPECT_TRUE(fs::exists(own));
  // A copy that is used is young again.
  fs::last_write_time(copy, fs::last_write_time(old) - hour);
  expect_used();
  EXPECT_GT(fs::last_write_time(copy), fs::last_write_time(old));
}

TEST_F(PackedCopy, ThatCannotBeWrittenLeavesNothing) {
  write_model();
  const std::vector<float> logits = expected();
  {
    ModelWeights weights = load();
    const FileSizeLimit limit(20'000);
    expect_error(ErrorCode::kIo, "copies", [&] { weights.copy->save(); });
    EXPECT_EQ(logits_of(weights), logits);
  }
  EXPECT_TRUE(fs::is_empty(copies_.path));
  copies_.path = model_ / "below-a-file";
  ModelWeights weights = load();
  expect_error(ErrorCode::kIo, "below-a-file", [&] { weights.copy->save(); });
  EXPECT_EQ(logits_of(weights), logits);
}

}  // namespace
}  // namespace chunkllm
