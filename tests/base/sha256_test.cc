#include "base/sha256.h"

#include <gtest/gtest.h>

#include <string>
#include <string_view>

namespace chunkllm {
namespace {

std::string digest_of(std::string_view text, size_t step = 1 << 20) {
  Sha256 hash;
  for (size_t i = 0; i < text.size(); i += step) {
    const std::string_view part = text.substr(i, step);
    hash.update(std::as_bytes(std::span(part)));
  }
  return hash.hex_digest();
}

// The examples of FIPS 180-4 that NIST publishes.
TEST(Sha256, GivesThePublishedDigests) {
  EXPECT_EQ(digest_of(""), "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855");
  EXPECT_EQ(digest_of("abc"), "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
  EXPECT_EQ(digest_of(std::string(1'000'000, 'a')),
            "cdc76e5c9914fb9281a1c7e284d73e67f1809a48a497200e046d39ccc7112cd0");
}

TEST(Sha256, PartsDoNotMatter) {
  const std::string text(1000, 'q');
  for (const size_t step : {1, 7, 64, 999}) EXPECT_EQ(digest_of(text, step), digest_of(text));
  EXPECT_NE(digest_of(text), digest_of(text + "q"));
}

}  // namespace
}  // namespace chunkllm
