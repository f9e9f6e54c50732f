#include "data/synthetic.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <numeric>
#include <set>
#include <span>
#include <string_view>
#include <vector>

#include "base/sha256.h"
#include "text/sentences.h"

namespace chunkllm {
namespace {

std::string sha256(std::string_view text) {
  Sha256 sha;
  sha.update(std::as_bytes(std::span(text)));
  return sha.hex_digest();
}

std::vector<std::string> sentences_of(std::string_view text) {
  std::vector<std::string> sentences;
  size_t begin = 0;
  for (const int64_t end : sentence_ends(text)) {
    begin = text.find_first_not_of(" \n", begin);
    sentences.emplace_back(text.substr(begin, static_cast<size_t>(end) - begin));
    begin = static_cast<size_t>(end);
  }
  return sentences;
}

int64_t count_words(std::string_view text) {
  int64_t n = 0;
  bool in_word = false;
  for (const char c : text) {
    const bool is_space = c == ' ' || c == '\n';
    n += !is_space && !in_word;
    in_word = !is_space;
  }
  return n;
}

std::string text_of(uint64_t seed, int64_t n_bytes) {
  Rng rng(seed);
  return make_text(rng, n_bytes);
}

TEST(Synthetic, IsTheSameEverywhere) {
  EXPECT_EQ(sha256(text_of(1, 200000)),
            "c74611081643293bc232b0b0ec5c50cd0e695564504c28b912a9faadb11c1ae3");
  EXPECT_NE(text_of(1, 2000), text_of(2, 2000));
}

TEST(Synthetic, SecondTextGoesOnWithTheGenerator) {
  Rng rng(1);
  EXPECT_NE(make_text(rng, 2000), make_text(rng, 2000));
}

TEST(Synthetic, ReachesItsLengthWithWholeParagraphs) {
  EXPECT_EQ(text_of(1, 0), "");
  EXPECT_EQ(text_of(1, -5), "");
  for (const int64_t n_bytes : {1, 100, 5000, 70000}) {
    for (uint64_t seed = 0; seed < 20; ++seed) {
      const std::string text = text_of(seed, n_bytes);
      EXPECT_GE(static_cast<int64_t>(text.size()), n_bytes);
      EXPECT_LT(static_cast<int64_t>(text.size()), n_bytes + 20000);
      EXPECT_TRUE(text.ends_with('\n') && !text.ends_with("\n\n"));
    }
  }
}

TEST(Synthetic, SentencesPracticallyNeverRepeat) {
  std::vector<std::string> sentences = sentences_of(text_of(3, 1000000));
  // What narrators say between two parts of a speech (`he said.`) does repeat.
  std::erase_if(sentences, [](const std::string& sentence) { return sentence.size() < 24; });
  ASSERT_GE(sentences.size(), 5000u);
  sentences.resize(5000);
  const std::set<std::string> distinct(sentences.begin(), sentences.end());
  EXPECT_GE(distinct.size(), 4950u);
}

TEST(Synthetic, SentenceLengthsSpreadLikeThoseOfBooks) {
  std::vector<int64_t> lengths;
  for (const std::string& sentence : sentences_of(text_of(4, 1000000))) {
    lengths.push_back(count_words(sentence));
  }
  std::sort(lengths.begin(), lengths.end());
  const auto n = static_cast<int64_t>(lengths.size());
  const auto quantile = [&](int64_t percent) {
    return lengths[static_cast<size_t>(n * percent / 100)];
  };
  const double mean =
      static_cast<double>(std::accumulate(lengths.begin(), lengths.end(), int64_t{0})) /
      static_cast<double>(n);
  EXPECT_GT(mean, 14.0);
  EXPECT_LT(mean, 20.0);
  EXPECT_LE(quantile(5), 4);
  EXPECT_GE(quantile(50), 10);
  EXPECT_GE(quantile(95), 38);
  EXPECT_LE(quantile(99), 70);
}

TEST(Synthetic, HoldsEveryMannerOfEndingASentence) {
  const std::string text = text_of(5, 3000000);
  for (const char* ending :
       {". ",   ".\n\n", ".\" ",   ".\"\n\n",  "?\"\n\n", "?\" ", "!\"\n\n", ",\" ",
        "! ",   "? ",    ".'\n\n", ".”\n\n",   ".  ",     ".\n",  "; ",      ": ",
        "...",  "--",    "—",      "Mr. ",     "Mrs. ",   "Dr. ", "M. ",     "St. ",
        "No. ", "a.m.",  "etc.,",  "CHAPTER ", ") ",      "’s ",  "£",       "&"}) {
    EXPECT_NE(text.find(ending), std::string::npos) << ending;
  }
}

TEST(Synthetic, LeavesNoTracesOfItsGrammar) {
  const std::string text = text_of(6, 2000000);
  for (const char* trace : {"{",    "}",    "|",     "*",      " ,",        " .",       "   ",
                            ",,",   ",.",   "..,",   "\n\n\n", " \n",       "\n ",      " a a",
                            " a e", " a i", " an b", " an t",  " the the ", " and and "}) {
    const size_t at = text.find(trace);
    EXPECT_EQ(at, std::string::npos) << trace << " in " << text.substr(at < 40 ? 0 : at - 40, 80);
  }
  EXPECT_EQ(text.find_first_of("\t\r"), std::string::npos);
}

TEST(Synthetic, SomeStoriesAreHardWrapped) {
  const std::string text = text_of(7, 2000000);
  size_t n_wrapped = 0;
  size_t n_long = 0;
  size_t begin = 0;
  while (begin < text.size()) {
    const size_t end = text.find('\n', begin);
    if (end - begin > 80) ++n_long;
    if (end - begin > 55 && text[end + 1] != '\n' && end - begin <= 76) ++n_wrapped;
    begin = end + 1;
  }
  EXPECT_GT(n_wrapped, 1000u);
  EXPECT_GT(n_long, 1000u);
}

}  // namespace
}  // namespace chunkllm
