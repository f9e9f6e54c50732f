#include "data/corpus.h"

#include <gtest/gtest.h>

#include "testing/expect_error.h"
#include "testing/temp_folder.h"

namespace chunkllm {
namespace {

TEST(Corpus, AByteOrderMarkIsNoText) {
  const TempFolder folder;
  const std::string mark = "\xef\xbb\xbf";
  const std::string lines = "{\"text\": \"One house.\"}\n{\"text\": \"Two houses.\"}\n";
  write_text(folder / "plain.txt", "One house. Two houses.");
  write_text(folder / "marked.txt", mark + "One house. Two houses.");
  write_text(folder / "plain.jsonl", lines);
  write_text(folder / "marked.jsonl", mark + lines);
  write_text(folder / "blank.jsonl", mark + "\n" + lines);
  const auto fingerprint = [&](const char* name) {
    return read_corpus({folder / name}).fingerprint;
  };
  EXPECT_EQ(fingerprint("marked.txt"), fingerprint("plain.txt"));
  EXPECT_EQ(fingerprint("marked.jsonl"), fingerprint("plain.jsonl"));
  EXPECT_EQ(fingerprint("blank.jsonl"), fingerprint("plain.jsonl"));
  EXPECT_NE(fingerprint("plain.txt"), fingerprint("plain.jsonl"));
}

TEST(Corpus, NoFileIsLearnedFromAndHeldOut) {
  const TempFolder folder;
  std::filesystem::create_directories(folder / "data" / "more");
  std::filesystem::create_directories(folder / "eval");
  write_text(folder / "data" / "more" / "a.txt", "One house.");
  write_text(folder / "eval" / "b.txt", "Two horse.");  // as many bytes
  EXPECT_NO_THROW(require_held_out({folder / "data"}, {folder / "eval"}));
  EXPECT_NO_THROW(require_held_out({}, {folder / "eval"}));
  EXPECT_NO_THROW(require_held_out({folder / "data"}, {}));
  const auto refused = [&](const std::filesystem::path& eval_data) {
    expect_error(ErrorCode::kInvalidArgument, "--data, too", [&] {
      require_held_out({folder / "data"}, {folder / "eval", eval_data});
    });
  };
  refused(folder / "data");
  refused(folder / "data" / "more" / "a.txt");
  refused(folder / "eval" / ".." / "data" / "more" / "a.txt");
  std::filesystem::create_symlink(folder / "data" / "more" / "a.txt", folder / "link.txt");
  refused(folder / "link.txt");

  write_text(folder / "copy.txt", "One house.");
  expect_error(ErrorCode::kInvalidArgument, "copy.txt is a copy of", [&] {
    require_held_out({folder / "data"}, {folder / "eval", folder / "copy.txt"});
  });
  write_text(folder / "data" / "empty.txt", "");
  write_text(folder / "eval" / "empty.txt", "");
  EXPECT_NO_THROW(require_held_out({folder / "data"}, {folder / "eval"}));
}

}  // namespace
}  // namespace chunkllm
