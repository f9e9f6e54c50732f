#include "select/settings.h"

#include <gtest/gtest.h>

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

}  // namespace
}  // namespace chunkllm
