#include "model/checkpoint.h"

#include <gtest/gtest.h>

#include <algorithm>

#include "testing/models.h"
#include "testing/temp_folder.h"

namespace chunkllm {
namespace {

constexpr size_t kSmallBytes = 4096;
constexpr size_t kLargeBytes = size_t{4} << 20;

// A folder with a small and a large tensor.
class CheckpointDigest : public testing::Test {
 protected:
  CheckpointDigest() : small_(kSmallBytes), large_(kLargeBytes) {
    for (size_t i = 0; i < small_.size(); ++i) small_[i] = std::byte(i * 7);
    for (size_t i = 0; i < large_.size(); ++i) large_[i] = std::byte(i * 31 >> 4);
    unchanged_ = digest();
  }
  std::string digest() const {
    write_safetensors(folder_ / "model.safetensors", {{"large", DType::kU8, {1024, 4096}, large_},
                                                      {"small", DType::kU8, {4096}, small_}});
    return Checkpoint(folder_.path(), config_).sample_digest();
  }
  void expect_seen(std::vector<std::byte>& bytes, size_t begin, size_t n) {
    const auto flip = [&] {
      std::for_each_n(bytes.begin() + static_cast<ptrdiff_t>(begin), n,
                      [](std::byte& byte) { byte ^= std::byte{1}; });
    };
    flip();
    EXPECT_NE(digest(), unchanged_) << n << " bytes from " << begin;
    flip();
  }

  const TempFolder folder_;
  const ModelConfig config_ = read_model_config(tiny_llama());
  std::vector<std::byte> small_;
  std::vector<std::byte> large_;
  std::string unchanged_;
};

TEST_F(CheckpointDigest, IsOfTheContent) {
  EXPECT_EQ(unchanged_.size(), 64u);
  EXPECT_EQ(digest(), unchanged_);
  const Checkpoint plain(tiny_llama(), config_);
  EXPECT_NE(plain.sample_digest(), unchanged_);
}

TEST_F(CheckpointDigest, SeesEveryByteOfASmallTensor) {
  for (const size_t at : {size_t{0}, kSmallBytes / 2, kSmallBytes - 1}) expect_seen(small_, at, 1);
}

TEST_F(CheckpointDigest, SeesBothEndsOfALargeTensorAndStretchesAnywhere) {
  expect_seen(large_, 0, 1);
  expect_seen(large_, kLargeBytes - 1, 1);
  // 64 parts lie evenly from begin to end, so that a 63rd of the tensor meets one of them.
  constexpr size_t kStretch = kLargeBytes / 63;
  for (const size_t begin : {kLargeBytes / 2, kLargeBytes / 3, kLargeBytes / 5 * 4,
                             kLargeBytes - kStretch - 1, kLargeBytes / 64 + 4096}) {
    expect_seen(large_, begin, kStretch);
  }
}

TEST_F(CheckpointDigest, SeesNamesShapesAndTypes) {
  const auto digest_of = [&](const TensorToWrite& tensor) {
    write_safetensors(folder_ / "model.safetensors", {tensor});
    return Checkpoint(folder_.path(), config_).sample_digest();
  };
  const std::string plain = digest_of({"a", DType::kF16, {2048}, small_});
  EXPECT_NE(digest_of({"b", DType::kF16, {2048}, small_}), plain);
  EXPECT_NE(digest_of({"a", DType::kF16, {2, 1024}, small_}), plain);
  EXPECT_NE(digest_of({"a", DType::kBf16, {2048}, small_}), plain);
}

}  // namespace
}  // namespace chunkllm
