#include "data/json_lines.h"

#include <gtest/gtest.h>

#include "testing/expect_error.h"
#include "testing/temp_folder.h"

namespace chunkllm {
namespace {

TEST(JsonLines, FilesOfFoldersComeByName) {
  const TempFolder folder;
  for (const char* name : {"b.jsonl", "a.jsonl", "c.txt"}) write_text(folder / name, "{}\n");
  const std::vector<std::filesystem::path> files{folder / "a.jsonl", folder / "b.jsonl",
                                                 folder / "c.txt"};
  EXPECT_EQ(json_line_files({folder.path(), folder / "c.txt"}), files);
}

TEST(JsonLines, LinesAreCountedAndBlankOnesPassedOver) {
  const TempFolder folder;
  write_text(folder / "a.jsonl", "\xef\xbb\xbf{\"n\": 1}\n\n \r\n{\"n\": 4}");
  std::string seen;
  for_each_json_line(folder / "a.jsonl",
                     [&](const nlohmann::json& record, const std::string& where) {
                       seen += record.at("n").dump() + where.substr(where.rfind(',')) + ";";
                     });
  EXPECT_EQ(seen, "1, line 1;4, line 4;");
  const auto pass_over = [](const nlohmann::json&, const std::string&) {};
  write_text(folder / "a.jsonl", "{}\n{\"a\": \n");
  expect_error(ErrorCode::kData, "a.jsonl, line 2",
               [&] { for_each_json_line(folder / "a.jsonl", pass_over); });
  expect_error(ErrorCode::kIo, "none", [&] { for_each_json_line(folder / "none", pass_over); });
}

TEST(JsonLines, ListsOfTextsAreWhatTheySay) {
  const nlohmann::json record = {
      {"good", {"a", ""}}, {"none", nlohmann::json::array()}, {"mixed", {"a", 1}}, {"text", "a"}};
  EXPECT_EQ(read_texts(record, "good", "here"), (std::vector<std::string>{"a", ""}));
  for (const char* name : {"none", "mixed", "text"}) {
    expect_error(ErrorCode::kData, "here: " + std::string(name) + " must be a list of texts",
                 [&] { read_texts(record, name, "here"); });
  }
  expect_error(ErrorCode::kData, "missing", [&] { read_texts(record, "missing", "here"); });
}

}  // namespace
}  // namespace chunkllm
