#include "base/file_backed_memory.h"

#include <sys/mman.h>

#include <cstring>
#include <filesystem>
#include <vector>

#include "testing/expect_error.h"
#include "testing/temp_folder.h"

namespace chunkllm {
namespace {

constexpr const char* kDisk = "/var/tmp";  // /tmp lies in memory here and there
constexpr int64_t kPage = 4096;
constexpr int64_t kPages = 512;
constexpr int64_t kLimit = 64 * kPage;

// As the system says.
int64_t pages_in_memory(const FileBackedMemory& memory) {
  std::vector<unsigned char> pages(kPages);
  EXPECT_EQ(::mincore(memory.data(), kPages * kPage, pages.data()), 0);
  int64_t n = 0;
  for (const unsigned char page : pages) n += page & 1;
  return n;
}

std::byte mark(int64_t page, int64_t turn) { return std::byte((page * 7 + turn) % 251); }

void write_page(FileBackedMemory& memory, int64_t page, int64_t turn) {
  memory.begin_use();
  memory.will_use({page * kPage, (page + 1) * kPage});
  std::memset(memory.data() + page * kPage, static_cast<int>(mark(page, turn)), kPage);
}

TEST(FileBackedMemory, HoldsWhatWasWrittenThroughAllEvictions) {
  const TempFolder folder(kDisk);
  FileBackedMemory memory(kPages * kPage, folder.path(), kLimit);
  EXPECT_EQ(memory.data()[kPages * kPage - 1], std::byte{0});
  for (int64_t turn = 0; turn < 3; ++turn) {
    for (int64_t page = turn; page < kPages; page += turn + 1) write_page(memory, page, turn);
  }
  for (int64_t page = 0; page < kPages; ++page) {
    const int64_t turn = (page - 2) % 3 == 0 && page >= 2 ? 2 : page % 2 == 1 ? 1 : 0;
    if (page % 5 == 0) memory.will_use({page * kPage, page * kPage + 1});  // the others unannounced
    EXPECT_EQ(memory.data()[page * kPage], mark(page, turn)) << page;
    EXPECT_EQ(memory.data()[page * kPage + kPage - 1], mark(page, turn)) << page;
  }
}

TEST(FileBackedMemory, NoMoreIsResidentThanMayBe) {
  const TempFolder folder(kDisk);
  FileBackedMemory memory(kPages * kPage, folder.path(), kLimit);
  for (int64_t page = 0; page < kPages; ++page) {
    write_page(memory, page, 0);
    EXPECT_LE(memory.resident_bytes(), kLimit + kPage) << page;
    EXPECT_LE(pages_in_memory(memory), kLimit / kPage + 1) << page;
  }
  for (int64_t page = 0; page < kPages; ++page) {
    EXPECT_EQ(memory.data()[page * kPage], mark(page, 0));  // without a word
  }
  for (int64_t page = 0; page <= kLimit / kPage + 1; ++page) write_page(memory, page, 1);
  memory.begin_use();
  EXPECT_LE(pages_in_memory(memory), kLimit / kPage);
}

TEST(FileBackedMemory, WhatWasUsedLastStays) {
  const TempFolder folder(kDisk);
  FileBackedMemory memory(kPages * kPage, folder.path(), kLimit);
  for (int64_t page = 0; page < kPages; ++page) {
    write_page(memory, page, 0);
    memory.will_use({0, 3 * kPage});
  }
  const int64_t before = pages_in_memory(memory);
  EXPECT_EQ(memory.data()[2 * kPage], mark(2, 0));
  EXPECT_EQ(pages_in_memory(memory), before);
}

TEST(FileBackedMemory, LeavesNoFile) {
  const TempFolder folder(kDisk);
  const FileBackedMemory memory(kPages * kPage, folder.path(), kLimit);
  EXPECT_TRUE(std::filesystem::is_empty(folder.path()));
}

TEST(FileBackedMemory, RefusesWhatCannotWork) {
  const TempFolder folder(kDisk);
  write_text(folder / "file", "");
  expect_error(ErrorCode::kIo, "choose another",
               [&] { FileBackedMemory(kPage, folder / "file", kLimit); });
  expect_error(ErrorCode::kIo, "cannot take 1.0 PiB",
               [&] { FileBackedMemory(size_t{1} << 50, folder.path(), kLimit); });
  if (std::filesystem::exists("/dev/shm")) {
    expect_error(ErrorCode::kInvalidArgument, "/dev/shm lies in memory; choose a folder on a disk",
                 [&] { FileBackedMemory(kPage, "/dev/shm", kLimit); });
  }
}

}  // namespace
}  // namespace chunkllm
