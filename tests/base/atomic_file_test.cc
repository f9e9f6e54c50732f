#include "base/atomic_file.h"

#include <sys/stat.h>

#include <map>
#include <memory>
#include <string>
#include <vector>

#include "testing/expect_error.h"
#include "testing/failing_calls.h"
#include "testing/file_size_limit.h"
#include "testing/temp_folder.h"

namespace chunkllm {
namespace {

int count_files(const TempFolder& folder) {
  int n = 0;
  for ([[maybe_unused]] const auto& entry : std::filesystem::directory_iterator(folder.path())) ++n;
  return n;
}

TEST(AtomicFile, TheFinalPathAppearsAtCommit) {
  const TempFolder folder;
  AtomicFile file(folder / "a");
  file.write("one");
  file.write(std::string_view());
  file.write("two");
  EXPECT_FALSE(std::filesystem::exists(folder / "a"));
  file.commit();
  EXPECT_EQ(read_text(folder / "a"), "onetwo");
  EXPECT_EQ(count_files(folder), 1);
}

TEST(AtomicFile, WithoutCommitTheOldFileStays) {
  const TempFolder folder;
  write_text(folder / "a", "old");
  {
    AtomicFile file(folder / "a");
    file.write("new");
  }
  EXPECT_EQ(read_text(folder / "a"), "old");
  EXPECT_EQ(count_files(folder), 1);
}

TEST(AtomicFile, ReplacesALongerFile) {
  const TempFolder folder;
  write_file_atomically(folder / "a", std::string(100'000, 'x'));
  write_file_atomically(folder / "a", "short");
  EXPECT_EQ(read_text(folder / "a"), "short");
}

TEST(AtomicFile, AFullDiskLeavesTheOldFileWhole) {
  const TempFolder folder;
  write_text(folder / "a", "old");
  {
    const FileSizeLimit limit(4096);
    expect_error(ErrorCode::kIo, (folder / "a").string(),
                 [&] { write_file_atomically(folder / "a", std::string(10'000, 'x')); });
  }
  EXPECT_EQ(read_text(folder / "a"), "old");
  EXPECT_EQ(count_files(folder), 1);
  write_file_atomically(folder / "a", std::string(10'000, 'x'));
  EXPECT_EQ(read_text(folder / "a").size(), 10'000u);
}

TEST(AtomicFile, EveryCallThatFailsLeavesAWholeFile) {
  const TempFolder folder;
  write_text(folder / "a", "old");
  expect_whole_files(folder.path(), [&] {
    AtomicFile file(folder / "a");
    file.write("new ");
    file.write("content");
    file.commit();
  });
}

TEST(AtomicFile, NamesAPlaceThatCannotBeWritten) {
  const TempFolder folder;
  const auto path = folder / "none" / "a";
  expect_error(ErrorCode::kIo, path.string(), [&] { write_file_atomically(path, "x"); });
  std::filesystem::create_directory(folder / "b");
  write_text(folder / "b" / "kept", "x");
  expect_error(ErrorCode::kIo, "b", [&] { write_file_atomically(folder / "b", "x"); });
  EXPECT_EQ(count_files(folder), 1);
}

TEST(AtomicFile, KeepsLinksAndRefusesWhatIsNoFile) {
  const TempFolder folder;
  write_text(folder / "a", "old");
  std::filesystem::create_symlink("a", folder / "link");
  write_file_atomically(folder / "link", "new");
  EXPECT_TRUE(std::filesystem::is_symlink(folder / "link"));
  EXPECT_FALSE(std::filesystem::is_symlink(folder / "a"));
  EXPECT_EQ(std::filesystem::file_size(folder / "a"), 3u);
  ASSERT_EQ(::mkfifo((folder / "pipe").c_str(), 0600), 0);
  expect_error(ErrorCode::kIo, "pipe is no regular file",
               [&] { write_file_atomically(folder / "pipe", "x"); });
  EXPECT_TRUE(std::filesystem::is_fifo(folder / "pipe"));
  expect_error(ErrorCode::kIo, "/dev/null is no regular file",
               [] { write_file_atomically("/dev/null", "x"); });
  EXPECT_TRUE(std::filesystem::is_character_file("/dev/null"));
}

TEST(WritableFolder, MakesParentsAndLeavesNothing) {
  const TempFolder folder;
  make_writable_folder(folder / "a" / "b");
  make_writable_folder(folder / "a" / "b");
  EXPECT_TRUE(std::filesystem::is_directory(folder / "a" / "b"));
  EXPECT_TRUE(std::filesystem::is_empty(folder / "a" / "b"));
}

TEST(WritableFolder, RefusesAFile) {
  const TempFolder folder;
  write_text(folder / "a", "x");
  expect_error(ErrorCode::kIo, "a", [&] { make_writable_folder(folder / "a"); });
  expect_error(ErrorCode::kIo, "a", [&] { make_writable_folder(folder / "a" / "b"); });
  expect_error(ErrorCode::kIo, "/proc", [] { make_writable_folder("/proc"); });
}

TEST(AtomicFile, TakesNoFoldersPlace) {
  const TempFolder folder;
  std::filesystem::create_directory(folder / "a");
  expect_error(ErrorCode::kIo, "is a folder; name a file", [&] { AtomicFile file(folder / "a"); });
  expect_error(ErrorCode::kIo, "is a folder; name a file",
               [&] { check_writable_file(folder / "a"); });
  EXPECT_EQ(count_files(folder), 1);
}

TEST(AtomicFile, ChecksMakeNothing) {
  const TempFolder folder;
  check_writable_file(folder / "a");
  check_writable_folder(folder / "b" / "c");
  check_writable_folder(folder.path());
  EXPECT_EQ(count_files(folder), 0);
  write_text(folder / "a", "old");
  check_writable_file(folder / "a");
  EXPECT_EQ(read_text(folder / "a"), "old");
  expect_error(ErrorCode::kIo, "a is a file; choose another",
               [&] { check_writable_folder(folder / "a"); });
  expect_error(ErrorCode::kIo, "a is a file; choose another",
               [&] { check_writable_folder(folder / "a" / "b" / "c"); });
  expect_error(ErrorCode::kIo, "No such file", [&] { check_writable_file(folder / "b" / "c"); });
  // The root user may write anywhere but here.
  expect_error(ErrorCode::kIo, "/proc/chunkllm/a: /proc cannot be written",
               [] { check_writable_folder("/proc/chunkllm/a"); });
  expect_error(ErrorCode::kIo, "cannot create /proc/.probe",
               [] { check_writable_folder("/proc"); });
}

TEST(AtomicFile, WhatIsUnfinishedCanBeRemovedAtOnce) {
  const TempFolder folder;
  AtomicFile first(folder / "a");
  write_file_atomically(folder / "b", "done");
  { AtomicFile given_up(folder / "c"); }
  AtomicFile last(folder / "d");
  EXPECT_EQ(count_files(folder), 3);
  remove_unfinished_files();
  EXPECT_EQ(files_of(folder.path()), (std::map<std::string, std::string>{{"b", "done"}}));
  remove_unfinished_files();  // as harmless again
}

TEST(AtomicFile, MoreFilesAtOnceThanAreRememberedAreWrittenAllTheSame) {
  const TempFolder folder;
  std::vector<std::unique_ptr<AtomicFile>> files;
  for (int i = 0; i < 20; ++i) {
    files.push_back(std::make_unique<AtomicFile>(folder / std::to_string(i)));
  }
  for (const auto& file : files) file->commit();
  EXPECT_EQ(count_files(folder), 20);
  files.clear();
  AtomicFile again(folder / "again");
  remove_unfinished_files();
  EXPECT_EQ(count_files(folder), 20) << "places that became free are used again";
}

TEST(AtomicFile, OnlyAbandonedFilesOfItsOwnAreRemoved) {
  const TempFolder folder;
  const std::vector<std::string> kept{"own.tmp",    "own.tmp12x", "own.tmpx12",
                                      "own",        "own.tmp-1",  "other.tmp12",
                                      "xown.tmp12", ".tmp12",     "own.tmp1.tmp"};
  for (const std::string& name : kept) write_text(folder / name, "x");
  write_text(folder / "own.tmp12", "half");
  write_text(folder / "own.tmp999999999", "");
  std::filesystem::create_directory(folder / "own.tmp13");
  std::filesystem::create_symlink(folder / "own", folder / "own.tmp14");
  AtomicFile written(folder / "own");  // own.tmpPID
  written.write("whole");
  remove_abandoned_files(folder.path(), [](std::string_view name) { return name == "own"; });
  for (const std::string& name : kept) EXPECT_EQ(read_text(folder / name), "x") << name;
  EXPECT_FALSE(std::filesystem::exists(folder / "own.tmp12"));
  EXPECT_FALSE(std::filesystem::exists(folder / "own.tmp999999999"));
  EXPECT_TRUE(std::filesystem::exists(folder / "own.tmp13"));
  EXPECT_TRUE(std::filesystem::is_symlink(folder / "own.tmp14"));
  written.commit();
  EXPECT_EQ(read_text(folder / "own"), "whole");
  EXPECT_NO_THROW(
      remove_abandoned_files(folder / "nowhere", [](std::string_view) { return true; }));
}

}  // namespace
}  // namespace chunkllm
