#include "base/settings_difference.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <nlohmann/json.hpp>

namespace chunkllm {
namespace {

using nlohmann::json;
using nlohmann::ordered_json;

const json kDefaults{{"--kv-budget", 2048}, {"--kv-budget-min", "default"}};

std::string difference(const json& saved, const ordered_json& now) {
  return settings_difference(saved, now, kDefaults);
}

TEST(SettingsDifference, IsSaidAsAUserWould) {
  EXPECT_EQ(difference({{"--kv-budget", 200}}, {{"--kv-budget", 200}}), "");
  EXPECT_EQ(difference({{"--kv-budget", 200}}, {{"--kv-budget", 0.1}}), "--kv-budget 200, now 0.1");
  EXPECT_EQ(difference({{"--kv-budget", 2048}}, {{"--kv-budget", 1024}}),
            "--kv-budget 2048 (the default), now 1024");
  EXPECT_EQ(difference({{"--kv-budget", 1024}}, {{"--kv-budget", 2048}}),
            "--kv-budget 1024, now 2048 (the default)");
  EXPECT_EQ(difference({{"--kv-budget-min", "default"}}, {{"--kv-budget-min", 300}}),
            "the default --kv-budget-min, now 300");
  EXPECT_EQ(difference({{"--kv-budget-min", 300}}, {{"--kv-budget-min", "default"}}),
            "--kv-budget-min 300, now the default");
  EXPECT_EQ(difference({{"--policy", "chunk"}}, {{"--policy", "full"}}),
            "--policy chunk, now full");
  EXPECT_EQ(difference({{"digest", std::string(64, 'a')}}, {{"digest", std::string(64, 'b')}}),
            "another digest");
  EXPECT_EQ(difference({{"digest", "none"}}, {{"digest", std::string(16, 'b')}}),
            "digest none, now bbbbbbbbbbbbbbbb");
}

// What nobody gave is not said where something else differs.
TEST(SettingsDifference, WhatFollowsFromOthersIsLeftOut) {
  EXPECT_EQ(
      difference({{"--kv-budget", 0.1}, {"--kv-budget-min", "default"}}, {{"--kv-budget", 1024}}),
      "--kv-budget 0.1, now 1024");
  EXPECT_EQ(difference({{"--kv-budget", 0.1}, {"--kv-budget-min", "default"}},
                       {{"--kv-budget", 1024}, {"--kv-budget-min", nullptr}}),
            "--kv-budget 0.1, now 1024");
  EXPECT_EQ(difference({{"--top-k-chunks", 8}}, {{"--kv-budget", 2048}}),
            "--top-k-chunks 8, now none");
  EXPECT_EQ(difference({{"--kv-budget", 2048}}, {{"--top-k-chunks", 8}}),
            "no --top-k-chunks, now 8");
  EXPECT_EQ(difference({{"--top-k-chunks", 8}}, {{"--kv-budget", 1024}}),
            "--top-k-chunks 8, now none; no --kv-budget, now 1024");
  EXPECT_EQ(difference({{"--policy", "chunk"}, {"adapter digest", std::string(64, 'a')}},
                       {{"--policy", "full"}}),
            "--policy chunk, now full");
  // Alone, as in a file of an earlier program, it is all there is to say.
  EXPECT_EQ(difference(json::object(), {{"--kv-budget", 2048}}),
            "no --kv-budget, now 2048 (the default)");
}

TEST(SettingsDifference, IsOneShortLineWhateverTheFileHolds) {
  const ordered_json now{{"a", 1}, {"b", 2}, {"c", 3}, {"d", 4}, {"e", 5}, {"f", 6}};
  EXPECT_EQ(difference(json::object(), now),
            "no a, now 1; no b, now 2; no c, now 3; no d, now 4; and 2 more");
  EXPECT_EQ(difference(7, {{"a", 1}}), "no a, now 1");
  const std::string text = difference({{"x\n\x1b[2J", "y\n\xff"},
                                       {"long", std::string(10000, 'z')},
                                       {"list", json(std::vector<int>(5000, 1))},
                                       {std::string(10000, 'n'), json::object()}},
                                      ordered_json::object());
  EXPECT_LT(text.size(), 600u);
  EXPECT_TRUE(std::ranges::all_of(text, [](char c) { return c >= ' ' && c < 0x7f; })) << text;
}

}  // namespace
}  // namespace chunkllm
