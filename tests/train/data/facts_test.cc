#include "train/data/facts.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <set>
#include <span>

#include "base/error.h"
#include "base/sha256.h"
#include "text/sentences.h"
#include "train/data/synthetic.h"

namespace chunkllm {
namespace {

std::string text_of(uint64_t seed, int64_t n_bytes) {
  Rng rng(seed);
  return make_text(rng, n_bytes);
}

// The document without the facts at `offsets` and the space before each.
std::string without(std::string document, const std::vector<Fact>& facts,
                    const std::vector<int64_t>& offsets) {
  for (size_t i = facts.size(); i-- > 0;) {
    document.erase(static_cast<size_t>(offsets[i]) - 1, facts[i].sentence.size() + 1);
  }
  return document;
}

TEST(Facts, AreTheSameEverywhere) {
  Rng rng(1);
  Sha256 sha;
  for (const Fact& fact : make_facts(rng, 500)) {
    const std::string all = fact.sentence + fact.question + fact.answer;
    sha.update(std::as_bytes(std::span(all)));
  }
  EXPECT_EQ(sha.hex_digest(), "2a2968bf96f7e33b4d9b50d24758b0651b940b2702c58463da9c93339e1a9edd");
}

TEST(Facts, SentenceHoldsTheAnswerAndTheQuestionDoesNot) {
  Rng rng(2);
  for (const FactKind kind : kFactKinds) {
    for (int i = 0; i < 300; ++i) {
      const Fact fact = make_fact(rng, kind);
      EXPECT_NE(fact.sentence.find(fact.answer), std::string::npos) << fact.sentence;
      EXPECT_EQ(fact.question.find(fact.answer), std::string::npos) << fact.question;
      EXPECT_TRUE(fact.question.ends_with('?'));
      EXPECT_EQ(fact.sentence.ends_with(fact.answer + "."), is_sentence(kind)) << fact.sentence;
      EXPECT_EQ(fact.answer.find('.'), std::string::npos);
    }
  }
}

TEST(Facts, TakeTheForms) {
  Rng rng(3);
  const auto begins = [&](FactKind kind, const char* sentence, const char* question) {
    const Fact fact = make_fact(rng, kind);
    EXPECT_TRUE(fact.sentence.starts_with(sentence)) << fact.sentence;
    EXPECT_TRUE(fact.question.starts_with(question)) << fact.question;
  };
  begins(FactKind::kNamedAfter, "The ", "What is the ");
  begins(FactKind::kMagicNumber, "One of the special magic numbers for ",
         "What is the special magic number for ");
  begins(FactKind::kBestThing, "The best thing to do in ", "What is the best thing to do in ");
  begins(FactKind::kKeyValue, "\"", "What is the value of the key \"");
  const Fact possessive = make_fact(rng, FactKind::kPossessive);
  EXPECT_EQ(possessive.question,
            "What is " + possessive.sentence.substr(0, possessive.sentence.find(" is ")) + "?");
}

TEST(Facts, OfOneDocumentDiffer) {
  Rng rng(4);
  for (const int64_t n : {int64_t{0}, int64_t{12}, int64_t{300}, kMaxFacts}) {
    const std::vector<Fact> facts = make_facts(rng, n);
    std::set<std::string> questions;
    std::set<std::string> answers;
    for (const Fact& fact : facts) {
      questions.insert(fact.question);
      answers.insert(fact.answer);
    }
    EXPECT_EQ(static_cast<int64_t>(questions.size()), n);
    EXPECT_EQ(static_cast<int64_t>(answers.size()), n);
  }
  EXPECT_THROW(make_facts(rng, -1), Error);
  EXPECT_THROW(make_facts(rng, kMaxFacts + 1), Error);
}

TEST(Facts, ManyQuestionsAreNotOfOneKind) {
  Rng rng(5);
  std::set<std::string> beginnings;
  for (int i = 0; i < 2000; ++i) {
    const Fact fact = make_fact(rng);
    beginnings.insert(fact.sentence.substr(0, 8));
  }
  EXPECT_GT(beginnings.size(), 100u);
}

TEST(AnswerMatches, ValueThenEndOrNoLetter) {
  const Fact fact{"", "", "green-417"};
  for (const char* good :
       {"green-417", "green-417.", "  green-417", "\n\tgreen-417\n", "green-417, I think",
        "green-417 is it", "green-417\"", "green-417”", "green-417-b", "green-417\xff"}) {
    EXPECT_TRUE(answer_matches(good, fact)) << good;
  }
  for (const char* bad :
       {"", " ", "green-41", "green-4170", "green-417a", "green-417é", "Green-417", "green 417",
        "The code is green-417.", "\"green-417\"", ".green-417"}) {
    EXPECT_FALSE(answer_matches(bad, fact)) << bad;
  }
}

TEST(AnswerMatches, EmptyAnswerMatchesNothing) {
  EXPECT_FALSE(answer_matches("", Fact{}));
  EXPECT_FALSE(answer_matches("anything", Fact{}));
}

TEST(AnswerMatches, AcceptsItsOwnTurnAndNoOthers) {
  Rng rng(6);
  const std::vector<Fact> facts = make_facts(rng, 60);
  for (const Fact& asked : facts) {
    for (const Fact& other : facts) {
      EXPECT_EQ(answer_matches(other.answer + ".", asked), &asked == &other)
          << asked.answer << " / " << other.answer;
    }
  }
}

TEST(HideFacts, LeavesTheTextAndPutsFactsAtTheirOffsets) {
  for (uint64_t seed = 0; seed < 30; ++seed) {
    Rng rng(seed);
    const std::string text = make_text(rng, 20000);
    const std::vector<Fact> facts = make_facts(rng, 12);
    std::vector<int64_t> offsets;
    const std::string document = hide_facts(text, facts, rng, &offsets);
    ASSERT_EQ(offsets.size(), facts.size());
    EXPECT_TRUE(std::is_sorted(offsets.begin(), offsets.end()));
    for (size_t i = 0; i < facts.size(); ++i) {
      const auto at = static_cast<size_t>(offsets[i]);
      EXPECT_EQ(document.substr(at, facts[i].sentence.size()), facts[i].sentence);
      EXPECT_EQ(document[at - 1], ' ');
      EXPECT_NE(document[at - 2], ' ');
    }
    EXPECT_EQ(without(document, facts, offsets), text);
  }
}

TEST(HideFacts, SpreadsOverTheDepth) {
  const std::string text = text_of(8, 200000);
  Rng rng(8);
  const std::vector<Fact> facts = make_facts(rng, 10);
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
    std::vector<Fact> facts;
    for (int i = 0; i < 20; ++i) facts.push_back(make_fact(rng, kFactKinds[i % 4]));
    std::vector<int64_t> offsets;
    const std::string document = hide_facts(text, facts, rng, &offsets);
    const std::vector<int64_t> ends = sentence_ends(document);
    const auto is_end = [&](int64_t at) {
      return std::binary_search(ends.begin(), ends.end(), at);
    };
    for (size_t i = 0; i < facts.size(); ++i) {
      const auto size = static_cast<int64_t>(facts[i].sentence.size());
      ASSERT_TRUE(is_sentence(kFactKinds[i % 4]));
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
  const Fact fact{"The secret code of Alice is 48213.", "", "48213"};
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
  const std::vector<Fact> facts = {{"A b is 1.", "", "1"}, {"A c is 2.", "", "2"}};
  std::vector<int64_t> offsets = {7};
  EXPECT_EQ(hide_facts("", facts, rng, &offsets), "A b is 1. A c is 2.");
  EXPECT_EQ(offsets, (std::vector<int64_t>{0, 10}));
  EXPECT_EQ(hide_facts("no sentence", facts, rng, &offsets), "no sentence A b is 1. A c is 2.");
  EXPECT_EQ(hide_facts("No facts. None.", {}, rng, &offsets), "No facts. None.");
  EXPECT_TRUE(offsets.empty());
  EXPECT_THROW(hide_facts("bad \xff", facts, rng, nullptr), Error);
}

TEST(RetrievalChat, AsksSomeOfTheHiddenFacts) {
  const std::string text = text_of(9, 30000);
  std::set<int64_t> depths;
  for (uint64_t seed = 0; seed < 10; ++seed) {
    Rng rng(seed);
    const RetrievalChat chat = make_retrieval_chat(rng, text, 8, 3);
    ASSERT_EQ(chat.asked.size(), 3u);
    ASSERT_EQ(chat.asked_offsets.size(), 3u);
    ASSERT_EQ(chat.hidden.size(), 8u);
    for (size_t i = 1; i < 8; ++i) EXPECT_LT(chat.hidden[i - 1].end, chat.hidden[i].begin);
    std::set<std::string> questions;
    for (size_t i = 0; i < 3; ++i) {
      const Fact& fact = chat.asked[i];
      questions.insert(fact.question);
      depths.insert(chat.asked_offsets[i] / 3800);
      EXPECT_EQ(
          chat.document.substr(static_cast<size_t>(chat.asked_offsets[i]), fact.sentence.size()),
          fact.sentence);
      const int64_t offset = chat.asked_offsets[i];
      EXPECT_THAT(chat.hidden, testing::Contains(Range{
                                   offset, offset + static_cast<int64_t>(fact.sentence.size())}));
      EXPECT_EQ(user_turn(chat, i), chat.document + "\n\n" + fact.question);
      EXPECT_TRUE(answer_matches(fact.answer + ".", fact));
    }
    EXPECT_EQ(questions.size(), 3u);
    EXPECT_THROW(user_turn(chat, 3), Error);
  }
  EXPECT_GE(depths.size(), 6u);  // any of the eight parts may be asked for
}

TEST(RetrievalChat, RefusesCountsThatCannotBe) {
  Rng rng(1);
  EXPECT_THROW(make_retrieval_chat(rng, "A. B.", 2, 3), Error);
  EXPECT_THROW(make_retrieval_chat(rng, "A. B.", -1, 0), Error);
  EXPECT_THROW(make_retrieval_chat(rng, "A. B.", 2, -1), Error);
  EXPECT_TRUE(make_retrieval_chat(rng, "A. B.", 0, 0).asked.empty());
}

}  // namespace
}  // namespace chunkllm
