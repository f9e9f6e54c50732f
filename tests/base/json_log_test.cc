#include "base/json_log.h"

#include <gtest/gtest.h>

#include "base/error.h"
#include "testing/temp_folder.h"

namespace chunkllm {
namespace {

TEST(JsonLog, HasOneWriterAtATime) {
  const TempFolder folder;
  const auto path = folder.path() / "log.jsonl";
  {
    JsonLog first(path, false);
    first.write({{"a", 1}});
    EXPECT_THROW(JsonLog(path, true), Error);
    EXPECT_THROW(JsonLog(path, false), Error);
    first.write({{"a", 2}});
  }
  EXPECT_EQ(read_json_log(path).size(), 2u);
  {
    // The lock moves to the file that takes the place of one with records that do not stay.
    const auto keeps_ones = [](const nlohmann::json& record, const std::string&) {
      return record["a"] == 1;
    };
    JsonLog next(path, true, keeps_ones);
    EXPECT_THROW(JsonLog(path, true), Error);
    next.write({{"a", 3}});
  }
  const auto records = read_json_log(path);
  ASSERT_EQ(records.size(), 2u);
  EXPECT_EQ(records[1]["a"], 3);
  JsonLog(path, false);
  EXPECT_TRUE(read_json_log(path).empty());
}

TEST(JsonLog, LetsGoOfAFileThatIsNoLog) {
  const TempFolder folder;
  const auto path = folder.path() / "log.jsonl";
  {
    JsonLog log(path, false);
    log.write({{"a", 1}});
  }
  const auto refuses = [](const nlohmann::json&, const std::string&) -> bool {
    fail(ErrorCode::kData, "no");
  };
  EXPECT_THROW(JsonLog(path, true, refuses), Error);
  JsonLog log(path, true);
  log.write({{"a", 2}});
  EXPECT_EQ(read_json_log(path).size(), 2u);
}

}  // namespace
}  // namespace chunkllm
