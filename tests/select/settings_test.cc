#include "select/settings.h"

#include <gtest/gtest.h>

#include <nlohmann/json.hpp>

#include "testing/expect_error.h"

namespace chunkllm {
namespace {

TEST(KvBudget, AnIntegerIsTokensAndAPointMakesAFraction) {
  EXPECT_EQ(KvBudget::parse("1").n_tokens, 1);
  EXPECT_FALSE(KvBudget::parse("1").fraction.has_value());
  EXPECT_EQ(KvBudget::parse("1.0").fraction, 1.0);
  EXPECT_EQ(KvBudget::parse("0.25").fraction, 0.25);
}

TEST(KvBudget, RefusesWhatIsNeither) {
  for (const char* text :
       {"", "0", "-1", "0.0", "1.5", "-0.1", "x", "12x", "1e3", "0.1x", "nan", "."}) {
    expect_error(ErrorCode::kInvalidArgument, "--kv-budget", [&] { KvBudget::parse(text); });
  }
}

TEST(DifferenceWithSettings, SettingsAreSaidOnlyWhereAllElseIsTheSame) {
  const auto difference = [](const nlohmann::json& saved, const nlohmann::ordered_json& now) {
    return difference_with_settings(saved, now, SelectionSettings());
  };
  EXPECT_EQ(difference({{"--policy", "chunk"}, {"--kv-budget", 200}}, {{"--policy", "full"}}),
            "--policy chunk, now full");
  EXPECT_EQ(difference({{"--policy", "chunk"}, {"--kv-budget", 200}},
                       {{"--policy", "chunk"}, {"--kv-budget", 2048}}),
            "--kv-budget 200, now 2048 (the default)");
  EXPECT_EQ(difference({{"--prefill-budget", "default"}}, {{"--prefill-budget", 0.5}}),
            "the default --prefill-budget, now 0.5");
  EXPECT_EQ(difference({{"--sink", 4}}, {{"--sink", 4}}), "");
}

}  // namespace
}  // namespace chunkllm
