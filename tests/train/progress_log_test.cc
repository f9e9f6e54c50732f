#include "train/progress_log.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <filesystem>
#include <fstream>
#include <sstream>
#include <string>

#include "base/error.h"

namespace chunkllm {
namespace {

class ProgressLogTest : public testing::Test {
 protected:
  ProgressLogTest() {
    const auto* test = testing::UnitTest::GetInstance()->current_test_info();
    folder_ = std::filesystem::path(testing::TempDir()) /
              (std::string("chunkllm_progress_log_") + test->name());
    std::filesystem::remove_all(folder_);
    std::filesystem::create_directories(folder_);
    path_ = folder_ / "train.jsonl";
  }
  ~ProgressLogTest() override { std::filesystem::remove_all(folder_); }

  std::string text() const {
    std::ifstream file(path_, std::ios::binary);
    std::ostringstream content;
    content << file.rdbuf();
    return content.str();
  }
  void put(const std::string& content) const { std::ofstream(path_, std::ios::binary) << content; }
  template <typename Call>
  static ErrorCode code_of(const Call& call) {
    try {
      call();
    } catch (const Error& error) {
      return error.code();
    }
    ADD_FAILURE() << "no Error was thrown";
    return ErrorCode::kInterrupted;
  }

  std::filesystem::path folder_;
  std::filesystem::path path_;
};

TEST_F(ProgressLogTest, WritesALineARecordAtOnceAndInOrder) {
  ProgressLog log(path_);
  log.write({{"step", 1}, {"loss_bce", 0.5}, {"a", "x\ny"}});
  EXPECT_EQ(text(), "{\"step\":1,\"loss_bce\":0.5,\"a\":\"x\\ny\"}\n");
  log.write({{"step", 2}, {"loss_bce", std::nan("")}});
  log.write({{"step", 3}, {"text", "\xff"}});
  const auto records = read_progress_log(path_);
  ASSERT_EQ(records.size(), 3u);
  EXPECT_EQ(records[0]["loss_bce"], 0.5);
  EXPECT_TRUE(records[1]["loss_bce"].is_null());
  EXPECT_EQ(records[2]["step"], 3);
}

TEST_F(ProgressLogTest, AFreshLogReplacesAnOldOne) {
  put("{\"step\":1}\n");
  const ProgressLog log(path_);
  EXPECT_EQ(text(), "");
  EXPECT_TRUE(read_progress_log(path_).empty());
}

TEST_F(ProgressLogTest, ResumingRemovesLaterStepsAndTheCutLine) {
  put("{\"step\":1, \"x\":  1}\n{\"step\":2}\n{\"step\":2,\"eval\":{}}\n{\"step\":3}\n{\"st");
  {
    ProgressLog log(path_, 2);
    log.write({{"step", 3}, {"again", true}});
  }
  EXPECT_EQ(text(),
            "{\"step\":1, \"x\":  1}\n{\"step\":2}\n{\"step\":2,\"eval\":{}}\n"
            "{\"step\":3,\"again\":true}\n");
  // Only the log remains: the rewrite left nothing beside it.
  EXPECT_EQ(std::distance(std::filesystem::directory_iterator(folder_), {}), 1);
}

TEST_F(ProgressLogTest, ResumingAMissingOrEmptyLogBeginsOne) {
  { ProgressLog(path_, 5).write({{"step", 6}}); }
  EXPECT_EQ(text(), "{\"step\":6}\n");
  put("");
  { ProgressLog(path_, 5).write({{"step", 6}}); }
  EXPECT_EQ(text(), "{\"step\":6}\n");
}

TEST_F(ProgressLogTest, ReadingLeavesOutTheCutLine) {
  put("{\"step\":1}\n{\"step\":2");
  EXPECT_EQ(read_progress_log(path_).size(), 1u);
}

TEST_F(ProgressLogTest, ADamagedLogIsRefusedWithItsLineAndKept) {
  for (const std::string damaged :
       {"{\"step\":1}\nnonsense\n{\"step\":3}\n", "{\"step\":1}\n{\"loss\":1}\n",
        "{\"step\":1}\n{\"step\":\"2\"}\n", "{\"step\":1}\n[2]\n", "{\"step\":1}\n\n"}) {
    put(damaged);
    try {
      const ProgressLog log(path_, 1);
      ADD_FAILURE() << "no Error was thrown for " << damaged;
    } catch (const Error& error) {
      EXPECT_EQ(error.code(), ErrorCode::kData);
      EXPECT_THAT(error.what(), testing::HasSubstr("train.jsonl:2"));
    }
    EXPECT_EQ(text(), damaged);
  }
}

TEST_F(ProgressLogTest, AFailedWriteIsAnError) {
  if (!std::filesystem::is_character_file("/dev/full")) GTEST_SKIP() << "no /dev/full here";
  ProgressLog log("/dev/full");
  EXPECT_EQ(code_of([&] { log.write({{"step", 1}}); }), ErrorCode::kIo);
}

TEST_F(ProgressLogTest, RefusesPathsAndRecordsThatCannotBeUsed) {
  EXPECT_EQ(code_of([&] { ProgressLog(folder_ / "missing" / "train.jsonl"); }), ErrorCode::kIo);
  EXPECT_EQ(code_of([&] { ProgressLog(folder_, 1); }), ErrorCode::kIo);
  EXPECT_EQ(code_of([&] { read_progress_log(path_); }), ErrorCode::kIo);
  EXPECT_EQ(code_of([&] { read_progress_log("/dev/null"); }), ErrorCode::kIo);
  ProgressLog log(path_);
  for (const nlohmann::ordered_json& record :
       {nlohmann::ordered_json::array(), nlohmann::ordered_json{{"loss", 1}},
        nlohmann::ordered_json{{"step", 1.5}}, nlohmann::ordered_json()}) {
    EXPECT_EQ(code_of([&] { log.write(record); }), ErrorCode::kInvalidArgument);
  }
  EXPECT_EQ(text(), "");
}

}  // namespace
}  // namespace chunkllm
