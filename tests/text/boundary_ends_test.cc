#include "text/boundary_ends.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <string>
#include <vector>

#include "base/error.h"
#include "base/random.h"
#include "text/sentences.h"

namespace chunkllm {
namespace {

using ::testing::ElementsAre;

// What stands between the ends, line ends as "\n".
std::vector<std::string> chunks(const std::string& text) {
  std::vector<std::string> list;
  size_t begin = 0;
  for (const int64_t end : boundary_ends(text)) {
    list.push_back(text.substr(begin, static_cast<size_t>(end) - begin));
    begin = static_cast<size_t>(end);
  }
  return list;
}

constexpr const char* kWrapped =
    "The old house stood at the end of the lane, where the trees\n"
    "grew close together. Nobody had lived in it for years, and\n"
    "the windows were dark. Mr. Hale looked at it for a while and\n"
    "went on.\n";

TEST(BoundaryEnds, LineEndsOfHardWrappedProseAreSpaces) {
  EXPECT_TRUE(is_hard_wrapped(kWrapped));
  EXPECT_THAT(chunks(kWrapped),
              ElementsAre("The old house stood at the end of the lane, where the trees\n"
                          "grew close together.",
                          " Nobody had lived in it for years, and\nthe windows were dark.",
                          " Mr. Hale looked at it for a while and\nwent on."));
}

TEST(BoundaryEnds, IndentedAndQuotedProseIsHardWrapped) {
  EXPECT_TRUE(
      is_hard_wrapped("    \"I cannot say,\" he answered, \"whether it was the horse or\n"
                      "    the wagon that came down the road first, for I was at the\n"
                      "    window of the kitchen and saw neither.\"\n"));
  EXPECT_TRUE(
      is_hard_wrapped("Es war ein langer Abend, und niemand wollte nach Hause gehen,\r\n"
                      "bevor die Lampen brannten. Der alte Mann saß am Fenster und\r\n"
                      "sah hinaus auf die Straße, die leer war.\r\n"));
}

TEST(BoundaryEnds, OneLineParagraphsHaveSentences) {
  EXPECT_THAT(chunks("CHAPTER I\n\nIt was late. He slept\n\n\nShe did not.\n"),
              ElementsAre("CHAPTER I", "\n\nIt was late.", " He slept", "\n\n\nShe did not."));
}

TEST(BoundaryEnds, LinesOfCodeAreChunks) {
  const std::string code =
      "def area(width, height):\n"
      "    # Both in metres. Never negative there.\n"
      "    return width * height\n"
      "\n"
      "print(area(2, 3.5))\n"
      "print(area(4, 1))\n";
  EXPECT_THAT(chunks(code),
              ElementsAre("def area(width, height):\n", "    # Both in metres.",
                          " Never negative there.", "\n", "    return width * height\n",
                          "\nprint(area(2, 3.5))\n", "print(area(4, 1))\n"));
}

TEST(BoundaryEnds, LinesOfOneWidthAreNotProseByThat) {
  for (const std::string line :
       {"  \"0ee5b36a-4535-b0eb-6d37-d4d03fd697d7\": \"41b6b60b-75aa-2fd6\",\n",
        "| apples and pears | 12 | from the market |\n",
        "2026-01-01 12:00:00 INFO request served in 12 ms\n",
        "    self.hidden_projection = Linear(d_model, d_inner)\n", "anna,smith,london,teacher,31\n",
        "- buy bread and milk and butter\n"}) {
    const std::string text = line + line + line + line + line;
    EXPECT_FALSE(is_hard_wrapped(text)) << line;
    EXPECT_THAT(chunks(text), ElementsAre(line, line, line, line, line));
  }
}

TEST(BoundaryEnds, VerseAndSpeechesEndAtLinesAndSentences) {
  EXPECT_THAT(
      chunks("The wind went over hill and sea\nAnd took the morning from the tree\n"
             "And nobody was there. But we\n"),
      ElementsAre("The wind went over hill and sea\n", "And took the morning from the tree\n",
                  "And nobody was there.", " But we\n"));
  EXPECT_THAT(
      chunks("ANNA: Where is it? I cannot see.\nMr. HALE: Under the stone\n"),
      ElementsAre("ANNA: Where is it?", " I cannot see.", "\n", "Mr. HALE: Under the stone\n"));
}

TEST(BoundaryEnds, TwoLinesAreStructured) {
  EXPECT_THAT(chunks("Dear Sir,\nit was late\n\nYours"),
              ElementsAre("Dear Sir,\n", "it was late\n", "\nYours"));
}

TEST(BoundaryEnds, LastLineWithoutALineEndEndsWithTheText) {
  EXPECT_THAT(chunks("{\n  \"a\": 1\n}"), ElementsAre("{\n", "  \"a\": 1\n", "}"));
  EXPECT_THAT(chunks("a = 1\nb = 2  "), ElementsAre("a = 1\n", "b = 2"));
}

TEST(BoundaryEnds, KindsMayFollowEachOther) {
  const std::string text = std::string(kWrapped) + "\nx = 1\ny = 2\n\n" + kWrapped;
  const std::vector<std::string> all = chunks(text);
  ASSERT_EQ(all.size(), 8u);
  EXPECT_EQ(all[3], "\n\nx = 1\n");
  EXPECT_EQ(all[4], "y = 2\n");
}

TEST(BoundaryEnds, EmptyTextsAndOnesOfSpacesHaveNone) {
  for (const char* text : {"", "\n", " \n\n\t\n", "\r\n"}) EXPECT_TRUE(boundary_ends(text).empty());
  EXPECT_THROW(boundary_ends("a\n\xff"), Error);
}

TEST(BoundaryEnds, AscendAndLeaveNothingButSpaces) {
  const std::vector<std::string> alphabet = {"a",      "The old man went",
                                             "B",      " ",
                                             " ",      ".",
                                             "!",      "?",
                                             "\n",     "\n",
                                             "\r\n",   "\"",
                                             "”",      "—",
                                             "1",      "Mr",
                                             "é",      "\u3000",
                                             "。",     "😀",
                                             "(",      "\t",
                                             "{",      "|",
                                             "\u2028", "…",
                                             "\u2029"};
  Rng rng(22);
  for (int round = 0; round < 5000; ++round) {
    std::string text;
    for (int64_t n = rng.below(40); n > 0; --n) {
      text += alphabet[static_cast<size_t>(rng.below(std::ssize(alphabet)))];
    }
    int64_t last = 0;
    for (const int64_t end : boundary_ends(text)) {
      ASSERT_GT(end, last) << text;
      ASSERT_LE(end, std::ssize(text));
      last = end;
    }
    ASSERT_TRUE(sentence_ends(text.substr(static_cast<size_t>(last))).empty()) << text;
  }
}

TEST(BoundaryEnds, LongTextsTakeLinearTime) {
  std::string text;
  for (int i = 0; i < 40000; ++i) text += "x = 1; y = 2\n";
  EXPECT_EQ(boundary_ends(text).size(), 40000u);
  std::string one(1000000, 'a');
  EXPECT_EQ(boundary_ends(one).size(), 1u);
}

}  // namespace
}  // namespace chunkllm
