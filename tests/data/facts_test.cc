#include "data/facts.h"

#include <fmt/core.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <set>
#include <span>

#include "base/error.h"
#include "base/sha256.h"
#include "data/synthetic.h"
#include "text/sentences.h"

namespace chunkllm {
namespace {

std::string text_of(uint64_t seed, int64_t n_bytes) {
  Rng rng(seed);
  return make_text(rng, n_bytes);
}

// The document without the facts at `offsets` and the space before each.
std::string without(std::string document, const std::vector<std::string>& facts,
                    const std::vector<int64_t>& offsets) {
  for (size_t i = facts.size(); i-- > 0;) {
    document.erase(static_cast<size_t>(offsets[i]) - 1, facts[i].size() + 1);
  }
  return document;
}

// Short sentences about different people.
std::vector<std::string> some_facts(Rng& rng, int64_t n) {
  std::vector<std::string> facts;
  for (int64_t i = 0; i < n; ++i) {
    facts.push_back(fmt::format("The secret code of {} is {}.", make_value(rng, "person"),
                                make_value(rng, "number5")));
  }
  return facts;
}

TEST(MakeValue, GivesTheSameEverywhere) {
  Rng rng(1);
  Sha256 sha;
  for (int i = 0; i < 500; ++i) {
    for (const char* rule : {"person", "words", "hyphenated", "code", "hex8", "phrase", "time"}) {
      const std::string value = make_value(rng, rule);
      sha.update(std::as_bytes(std::span(value)));
    }
  }
  EXPECT_EQ(sha.hex_digest(), "e453a81641a262562e39e4237c113fd8defe3e96334daf02185c3cf3ab94acfa");
  EXPECT_THROW(make_value(rng, "no such rule"), Error);
}

TEST(MakeValue, TakesTheForms) {
  Rng rng(2);
  for (int i = 0; i < 300; ++i) {
    EXPECT_THAT(make_value(rng, "number5"), testing::MatchesRegex("[1-9][0-9]{4}"));
    EXPECT_THAT(make_value(rng, "hex8"), testing::MatchesRegex("[0-9a-f]{8}"));
    EXPECT_THAT(make_value(rng, "code"), testing::MatchesRegex("[a-z]+-[1-9][0-9]{2}"));
    EXPECT_THAT(make_value(rng, "hyphenated"), testing::MatchesRegex("[a-z]+-[a-z]+"));
    EXPECT_THAT(make_value(rng, "time"), testing::MatchesRegex("([1-9]|1[0-9]|2[0-2]):[0-5][0-9]"));
  }
}

TEST(HideFacts, LeavesTheTextAndPutsFactsAtTheirOffsets) {
  for (uint64_t seed = 0; seed < 30; ++seed) {
    Rng rng(seed);
    const std::string text = make_text(rng, 20000);
    const std::vector<std::string> facts = some_facts(rng, 12);
    std::vector<int64_t> offsets;
    const std::string document = hide_facts(text, facts, rng, &offsets);
    ASSERT_EQ(offsets.size(), facts.size());
    EXPECT_TRUE(std::is_sorted(offsets.begin(), offsets.end()));
    for (size_t i = 0; i < facts.size(); ++i) {
      const auto at = static_cast<size_t>(offsets[i]);
      EXPECT_EQ(document.substr(at, facts[i].size()), facts[i]);
      EXPECT_EQ(document[at - 1], ' ');
      EXPECT_NE(document[at - 2], ' ');
    }
    EXPECT_EQ(without(document, facts, offsets), text);
  }
}

TEST(HideFacts, SpreadsOverTheDepth) {
  const std::string text = text_of(8, 200000);
  Rng rng(8);
  const std::vector<std::string> facts = some_facts(rng, 10);
  std::vector<int64_t> offsets;
  const std::string document = hide_facts(text, facts, rng, &offsets);
  for (size_t i = 0; i < 10; ++i) {
    const double depth = static_cast<double>(offsets[i]) / static_cast<double>(document.size());
    EXPECT_GE(depth, 0.1 * static_cast<double>(i) - 0.01);
    EXPECT_LE(depth, 0.1 * static_cast<double>(i + 1) + 0.01);
  }
}

TEST(HideFacts, SentencesAndWhatStandsBeforeThemEndWhereTheyShould) {
  for (uint64_t seed = 0; seed < 20; ++seed) {
    Rng rng(seed);
    const std::string text = make_text(rng, 50000);
    const std::vector<std::string> facts = some_facts(rng, 20);
    std::vector<int64_t> offsets;
    const std::string document = hide_facts(text, facts, rng, &offsets);
    const std::vector<int64_t> ends = sentence_ends(document);
    const auto is_end = [&](int64_t at) {
      return std::binary_search(ends.begin(), ends.end(), at);
    };
    for (size_t i = 0; i < facts.size(); ++i) {
      const auto size = std::ssize(facts[i]);
      EXPECT_TRUE(is_end(offsets[i] + size))
          << document.substr(static_cast<size_t>(offsets[i]) - 60, 200);
      EXPECT_TRUE(is_end(offsets[i] - 1))
          << document.substr(static_cast<size_t>(offsets[i]) - 60, 200);
    }
  }
}

TEST(HideFacts, KeepsLineEndsAndAvoidsHeadingsAndInterruptedSpeech) {
  const std::string text =
      "CHAPTER I\n\n\"Who is there?\" asked Mr. Hale.\n\nNobody\nanswered. He went away";
  const std::string fact = "The secret code of Alice is 48213.";
  std::set<std::string> seen;
  for (uint64_t seed = 0; seed < 50; ++seed) {
    Rng rng(seed);
    seen.insert(hide_facts(text, {fact}, rng, nullptr));
  }
  EXPECT_EQ(seen, (std::set<std::string>{
                      "CHAPTER I\n\n\"Who is there?\" asked Mr. Hale. The secret code of Alice is "
                      "48213.\n\nNobody\nanswered. He went away",
                      "CHAPTER I\n\n\"Who is there?\" asked Mr. Hale.\n\nNobody\nanswered. The "
                      "secret code of Alice is 48213. He went away"}));
}

TEST(HideFacts, WithoutSentencesGoesToTheEnd) {
  Rng rng(1);
  const std::vector<std::string> facts = {"A b is 1.", "A c is 2."};
  std::vector<int64_t> offsets = {7};
  EXPECT_EQ(hide_facts("", facts, rng, &offsets), "A b is 1. A c is 2.");
  EXPECT_EQ(offsets, (std::vector<int64_t>{0, 10}));
  EXPECT_EQ(hide_facts("no sentence", facts, rng, &offsets), "no sentence A b is 1. A c is 2.");
  EXPECT_EQ(hide_facts("No facts. None.", {}, rng, &offsets), "No facts. None.");
  EXPECT_TRUE(offsets.empty());
  EXPECT_THROW(hide_facts("bad \xff", facts, rng, nullptr), Error);
}

}  // namespace
}  // namespace chunkllm
