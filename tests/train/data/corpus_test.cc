#include "train/data/corpus.h"

#include <gtest/gtest.h>

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

}  // namespace
}  // namespace chunkllm
