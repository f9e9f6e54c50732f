#include "text/sentences.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <string>
#include <thread>
#include <vector>

#include "base/error.h"
#include "base/random.h"

namespace chunkllm {
namespace {

using ::testing::ElementsAre;

// The sentences, without the white space between them.
std::vector<std::string> sentences(const std::string& text) {
  std::vector<std::string> list;
  size_t begin = 0;
  for (const int64_t end : sentence_ends(text)) {
    const std::string sentence = text.substr(begin, static_cast<size_t>(end) - begin);
    list.push_back(sentence.substr(sentence.find_first_not_of(" \t\r\n")));
    begin = static_cast<size_t>(end);
  }
  return list;
}

TEST(Sentences, EndAtPointsAndMarks) {
  EXPECT_THAT(sentences("One. Two! Three? Four"), ElementsAre("One.", "Two!", "Three?", "Four"));
  EXPECT_THAT(sentences("It cost 3.14 dollars. Well... So it did."),
              ElementsAre("It cost 3.14 dollars.", "Well...", "So it did."));
  EXPECT_THAT(sentences("今日は。明日も。"), ElementsAre("今日は。", "明日も。"));
}

TEST(Sentences, AbbreviationsDoNotEndThem) {
  for (const std::string text :
       {"Mr. Smith met Mrs. Jones, Dr. Brown and Prof. White.", "He saw Capt. Hook at St. Paul's.",
        "It was M. Lecoq, not Mme. Petit.", "So wrote J. R. R. Tolkien to C. S. Lewis.",
        "Take fruit, e.g. Apples, i.e. Food.", "Gen. Lee, Col. Brandon and Rev. Collins came.",
        "See No. 7 and vol. 3 of it.", "Smith vs. Jones was heard.", "Paris, Oct. 25, was cold.",
        "Hon. Mrs.\nWilson came."}) {
    EXPECT_EQ(sentences(text).size(), 1u) << text;
  }
}

TEST(Sentences, WordsThatLookLikeAbbreviationsDoEndThem) {
  EXPECT_THAT(sentences("Is it? No. I think not."), ElementsAre("Is it?", "No.", "I think not."));
  EXPECT_THAT(sentences("He is taller than I. She is not."),
              ElementsAre("He is taller than I.", "She is not."));
  EXPECT_THAT(sentences("It was a signal. They left at last. We stayed."),
              ElementsAre("It was a signal.", "They left at last.", "We stayed."));
  EXPECT_THAT(sentences("Ask Joe. He knows."), ElementsAre("Ask Joe.", "He knows."));
}

// Unicode's rule: a full stop before a small letter ends nothing, other marks do.
TEST(Sentences, QuestionsAndCallsEndInTheMiddleOfSpeech) {
  EXPECT_THAT(sentences("\"What?\" he said. \"Go now!\" And she went."),
              ElementsAre("\"What?\"", "he said.", "\"Go now!\"", "And she went."));
  EXPECT_THAT(sentences("They came to approx. ten... or so."),
              ElementsAre("They came to approx. ten... or so."));
  EXPECT_THAT(sentences("“Stop!”—it was he. ‘Yes.’ She smiled."),
              ElementsAre("“Stop!”—it was he.", "‘Yes.’", "She smiled."));
}

TEST(Sentences, LineEndsAreSpacesAndBlankLinesEnd) {
  EXPECT_THAT(sentences("It was\nlate.\r\nVery late."), ElementsAre("It was\nlate.", "Very late."));
  for (const std::string blank : {"\n\n", "\n \t\n", "\r\n\r\n", "\r\r", "\n\n\n\n"}) {
    EXPECT_THAT(sentences("CHAPTER I" + blank + "It began."),
                ElementsAre("CHAPTER I", "It began."));
  }
}

TEST(Sentences, ItemNumbersBelongToTheirItem) {
  EXPECT_THAT(sentences("1. The cat sat. 2. The dog ran."),
              ElementsAre("1. The cat sat.", "2. The dog ran."));
}

TEST(Sentences, OffsetsCountBytesAndSkipSpaces) {
  EXPECT_THAT(sentence_ends("Café. 😀 Ja."), ElementsAre(6, 15));
  EXPECT_THAT(sentence_ends("  Ah.   Oh.  \n"), ElementsAre(5, 11));
  EXPECT_THAT(sentence_ends("Ah\u2029Oh"), ElementsAre(2, 7));  // paragraph separator, 3 bytes
  EXPECT_THAT(sentence_ends(""), ElementsAre());
  EXPECT_THAT(sentence_ends(" \n\n \t"), ElementsAre());
}

TEST(Sentences, EndsAscendAndStandAfterCharactersThatAreNoSpace) {
  const std::vector<std::string> alphabet = {"a",  "B",  " ", " ",  ".",  "!",  "?", "\n",
                                             "\r", "\"", "”", "—",  "1",  "Mr", "é", "\u3000",
                                             "。", "😀",  "(", "\t", "\v", "…",  "I."};
  Rng rng(21);
  for (int round = 0; round < 5000; ++round) {
    std::string text;
    bool has_content = false;
    for (int64_t n = rng.below(30); n > 0; --n) {
      const std::string& unit = alphabet[static_cast<size_t>(rng.below(std::ssize(alphabet)))];
      text += unit;
      has_content |= unit.find_first_not_of(" \n\r\t\v") != std::string::npos && unit != "\u3000";
    }
    const std::vector<int64_t> ends = sentence_ends(text);
    int64_t last = 0;
    for (const int64_t end : ends) {
      ASSERT_GT(end, last) << text;
      ASSERT_LE(end, std::ssize(text));
      ASSERT_EQ(std::string(" \n\r\t\v").find(text[static_cast<size_t>(end) - 1]),
                std::string::npos);
      last = end;
    }
    ASSERT_EQ(ends.empty(), !has_content) << text;
    // Nothing but white space is left after the last end.
    const std::string rest = text.substr(static_cast<size_t>(last));
    ASSERT_TRUE(sentence_ends(rest).empty()) << text;
  }
}

TEST(Sentences, LongParagraphsAndManyThreads) {
  std::string text;
  for (int i = 0; i < 20000; ++i) text += "Mr. Smith went home. He slept";
  const std::vector<int64_t> expected = sentence_ends(text);
  EXPECT_GE(expected.size(), 20000u);
  std::vector<std::vector<int64_t>> results(3);
  std::vector<std::thread> threads;
  for (auto& result : results) {
    threads.emplace_back([&result, &text] { result = sentence_ends(text); });
  }
  for (std::thread& thread : threads) thread.join();
  for (const auto& result : results) EXPECT_EQ(result, expected);
}

TEST(Sentences, InvalidUtf8IsAnError) { EXPECT_THROW(sentence_ends("a.\xff"), Error); }

}  // namespace
}  // namespace chunkllm
