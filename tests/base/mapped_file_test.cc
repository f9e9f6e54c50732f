#include "base/mapped_file.h"

#include <sys/stat.h>

#include <string>
#include <utility>

#include "testing/expect_error.h"
#include "testing/temp_folder.h"

namespace chunkllm {
namespace {

std::string text_of(const MappedFile& file) {
  return {reinterpret_cast<const char*>(file.bytes().data()), file.bytes().size()};
}

TEST(MappedFile, ShowsTheBytesOfTheFile) {
  const TempFolder folder;
  const std::string text = std::string(10, '\0') + std::string(10'000, 'x');
  write_text(folder / "a", text);
  EXPECT_EQ(text_of(MappedFile(folder / "a")), text);
}

TEST(MappedFile, AnEmptyFileHasNoBytes) {
  const TempFolder folder;
  write_text(folder / "a", "");
  EXPECT_TRUE(MappedFile(folder / "a").bytes().empty());
}

TEST(MappedFile, MovingKeepsTheBytesInPlace) {
  const TempFolder folder;
  write_text(folder / "a", "first");
  write_text(folder / "b", "second");
  MappedFile a(folder / "a");
  const auto* place = a.bytes().data();
  MappedFile moved(std::move(a));
  EXPECT_EQ(moved.bytes().data(), place);
  MappedFile b(folder / "b");
  b = std::move(moved);
  EXPECT_EQ(b.bytes().data(), place);
  EXPECT_EQ(text_of(b), "first");
}

TEST(MappedFile, TheMappingOutlivesTheName) {
  const TempFolder folder;
  write_text(folder / "a", "first");
  const MappedFile a(folder / "a");
  std::filesystem::remove(folder / "a");
  EXPECT_EQ(text_of(a), "first");
}

TEST(MappedFile, RefusesWhatIsNoRegularFile) {
  const TempFolder folder;
  expect_error(ErrorCode::kIo, "none", [&] { MappedFile(folder / "none"); });
  expect_error(ErrorCode::kIo, "not a regular file", [&] { MappedFile(folder.path()); });
  expect_error(ErrorCode::kIo, "not a regular file", [] { MappedFile("/dev/zero"); });
  // Opening a pipe that nobody writes to must not wait.
  ASSERT_EQ(::mkfifo((folder / "pipe").c_str(), 0600), 0);
  expect_error(ErrorCode::kIo, "not a regular file", [&] { MappedFile(folder / "pipe"); });
}

}  // namespace
}  // namespace chunkllm
