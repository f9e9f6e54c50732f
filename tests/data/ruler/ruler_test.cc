#include "data/ruler/ruler.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <map>
#include <nlohmann/json.hpp>
#include <regex>
#include <set>
#include <sstream>

#include "data/synthetic.h"
#include "testing/expect_error.h"

namespace chunkllm {
namespace {

using testing::EndsWith;
using testing::HasSubstr;
using testing::StartsWith;
using testing::UnorderedElementsAreArray;

std::string prompt_of(const RulerText& text) {
  return text.text + text.questions.at(0).question + text.questions.at(0).answer_begin;
}

std::string essay_of(uint64_t seed, int64_t n_bytes) {
  Rng rng(seed);
  return make_text(rng, n_bytes);
}

// All values that the sentences of a text give to keys.
std::multimap<std::string, std::string> needles_of(const std::string& text) {
  static const std::regex needle("One of the special magic [a-z]+ for ([^ ]+) is: ([^ ]+)\\.");
  std::multimap<std::string, std::string> needles;
  for (std::sregex_iterator match(text.begin(), text.end(), needle), end; match != end; ++match) {
    needles.emplace((*match)[1], (*match)[2]);
  }
  return needles;
}

// The keys between two words of a question.
std::set<std::string> keys_in(std::string question) {
  const std::string before = " for ";
  question.erase(0, question.find(before) + before.size());
  question.erase(question.find(" mentioned"));
  std::set<std::string> keys;
  std::istringstream words(std::regex_replace(question, std::regex(",|\\band\\b"), " "));
  for (std::string word; words >> word;) keys.insert(word);
  return keys;
}

constexpr RetrievalTask kNeedleTasks[] = {
    RetrievalTask::kNiahSingle1,    RetrievalTask::kNiahSingle2,   RetrievalTask::kNiahSingle3,
    RetrievalTask::kNiahMultikey1,  RetrievalTask::kNiahMultikey2, RetrievalTask::kNiahMultikey3,
    RetrievalTask::kNiahMultivalue, RetrievalTask::kNiahMultiquery};

TEST(RulerNeedles, AnswersAreTheValuesOfTheAskedKeys) {
  const std::string essay = essay_of(1, 8000);
  for (const RetrievalTask task : kNeedleTasks) {
    Rng rng(static_cast<uint64_t>(task));
    const RulerText text = make_needle_text(rng, task, essay, 8000);
    ASSERT_EQ(text.questions.size(), 1u);
    const RetrievalQuestion& question = text.questions[0];
    const auto needles = needles_of(text.text);
    std::vector<std::string> values;
    for (const std::string& key : keys_in(question.question)) {
      const auto [first, last] = needles.equal_range(key);
      EXPECT_NE(first, last) << key;
      for (auto needle = first; needle != last; ++needle) values.push_back(needle->second);
    }
    EXPECT_THAT(question.expected, UnorderedElementsAreArray(values)) << enum_name(task);
    EXPECT_EQ(keys_in(question.answer_begin), keys_in(question.question));
  }
}

TEST(RulerNeedles, CountsAndHaystacksAreRulers) {
  const std::string essay = essay_of(2, 8000);
  const auto make = [&](RetrievalTask task) {
    Rng rng(7);
    return make_needle_text(rng, task, essay, 8000);
  };
  const auto n_needles = [&](RetrievalTask task) { return needles_of(make(task).text).size(); };
  EXPECT_EQ(n_needles(RetrievalTask::kNiahSingle1), 1u);
  EXPECT_EQ(n_needles(RetrievalTask::kNiahSingle2), 1u);
  EXPECT_EQ(n_needles(RetrievalTask::kNiahSingle3), 1u);
  EXPECT_EQ(n_needles(RetrievalTask::kNiahMultikey1), 4u);
  EXPECT_GT(n_needles(RetrievalTask::kNiahMultikey2), 90u);
  EXPECT_GT(n_needles(RetrievalTask::kNiahMultikey3), 60u);
  EXPECT_EQ(n_needles(RetrievalTask::kNiahMultivalue), 4u);
  EXPECT_EQ(n_needles(RetrievalTask::kNiahMultiquery), 4u);
  const auto n_expected = [&](RetrievalTask task) {
    return make(task).questions[0].expected.size();
  };
  EXPECT_EQ(n_expected(RetrievalTask::kNiahMultikey1), 1u);
  EXPECT_EQ(n_expected(RetrievalTask::kNiahMultivalue), 4u);
  EXPECT_EQ(n_expected(RetrievalTask::kNiahMultiquery), 4u);
  EXPECT_EQ(keys_in(make(RetrievalTask::kNiahMultivalue).questions[0].question).size(), 1u);
  EXPECT_EQ(keys_in(make(RetrievalTask::kNiahMultiquery).questions[0].question).size(), 4u);

  const std::regex number("[1-9][0-9]{6}");
  const std::regex uuid("[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}");
  const std::regex words("[a-z]+-[a-z]+");
  const RulerText uuids = make(RetrievalTask::kNiahMultikey3);
  EXPECT_TRUE(std::regex_match(uuids.questions[0].expected[0], uuid));
  EXPECT_TRUE(std::regex_match(*keys_in(uuids.questions[0].question).begin(), uuid));
  const RulerText numbers = make(RetrievalTask::kNiahMultikey2);
  EXPECT_TRUE(std::regex_match(numbers.questions[0].expected[0], number));
  EXPECT_TRUE(std::regex_match(*keys_in(numbers.questions[0].question).begin(), words));
  EXPECT_TRUE(std::regex_match(make(RetrievalTask::kNiahSingle3).questions[0].expected[0], uuid));

  // Of noise every line is the noise but one.
  std::istringstream lines(make(RetrievalTask::kNiahSingle1).text);
  std::map<std::string, int> counts;
  for (std::string line; std::getline(lines, line);) ++counts[line];
  EXPECT_EQ(counts.size(), 3u) << "the instruction, the noise and the needle";
  EXPECT_GT(counts["The grass is green. The sky is blue. The sun is yellow. Here we go. There and "
                   "back again."],
            80);
  // Without its needles an essay is what it was but for its white space.
  const std::string with = make(RetrievalTask::kNiahMultiquery).text;
  const std::string rest = std::regex_replace(
      with.substr(with.find('\n') + 1),
      std::regex(" ?One of the special magic [a-z]+ for [^ ]+ is: [^ ]+\\."), "");
  const std::string blanks = std::regex_replace(essay, std::regex("\\s+"), " ");
  EXPECT_EQ(rest, blanks.substr(0, blanks.find_last_not_of(' ') + 1));
  EXPECT_EQ(with.find("  "), std::string::npos);
}

TEST(RulerNeedles, WordingsAreRulers) {
  Rng rng(3);
  const RulerText one = make_needle_text(rng, RetrievalTask::kNiahSingle3, essay_of(3, 3000), 3000);
  EXPECT_THAT(one.text, StartsWith("A special magic uuid is hidden within the following text. Make "
                                   "sure to memorize it. I will quiz you about the uuid "
                                   "afterwards.\n"));
  const std::string key = *keys_in(one.questions[0].question).begin();
  EXPECT_THAT(prompt_of(one),
              EndsWith("\nWhat is the special magic uuid for " + key +
                       " mentioned in the provided text? The special magic uuid for " + key +
                       " mentioned in the provided text is"));
  const RulerText many =
      make_needle_text(rng, RetrievalTask::kNiahMultiquery, essay_of(3, 3000), 3000);
  EXPECT_THAT(many.text,
              StartsWith("Some special magic numbers are hidden within the following text. Make "
                         "sure to memorize it. I will quiz you about the numbers afterwards.\n"));
  EXPECT_TRUE(std::regex_search(
      prompt_of(many),
      std::regex("\nWhat are all the special magic numbers for ([a-z]+-[a-z]+, [a-z]+-[a-z]+, "
                 "[a-z]+-[a-z]+, and [a-z]+-[a-z]+) mentioned in the provided text\\? The special "
                 "magic numbers for \\1 mentioned in the provided text are$")));
  expect_error(ErrorCode::kInvalidArgument, "'cwe' hides no needles",
               [&] { make_needle_text(rng, RetrievalTask::kCommonWords, "", 100); });
}

// The values of variables after all assignments of a text, in their order.
std::map<std::string, std::string> values_of(const std::string& text) {
  static const std::regex assignment("VAR ([A-Z]+) = (VAR )?([A-Z0-9]+)");
  std::map<std::string, std::string> values;
  for (std::sregex_iterator match(text.begin(), text.end(), assignment), end; match != end;
       ++match) {
    const std::string from = (*match)[3];
    EXPECT_FALSE(values.contains((*match)[1])) << "each is assigned once";
    EXPECT_TRUE(!(*match)[2].matched || values.contains(from)) << from;
    values[(*match)[1]] = (*match)[2].matched ? values[from] : from;
  }
  return values;
}

std::vector<std::string> names_with(const std::map<std::string, std::string>& values,
                                    const std::string& value) {
  std::vector<std::string> names;
  for (const auto& [name, other] : values) {
    if (other == value) names.push_back(name);
  }
  return names;
}

TEST(RulerVariables, AnswersAreThoseThatLeadToTheValue) {
  constexpr const char* kHead =
      "Memorize and track the chain(s) of variable assignment hidden in the following text.\n\n";
  for (const int64_t n_chains : {1, 3}) {
    Rng rng(static_cast<uint64_t>(n_chains));
    const RulerText text = make_variable_text(rng, n_chains, 4, 9000);
    const size_t second = text.text.rfind(kHead);
    ASSERT_NE(second, 0u);
    const std::string example = text.text.substr(0, second);
    const RetrievalQuestion& question = text.questions.at(0);
    std::smatch asked;
    ASSERT_TRUE(std::regex_match(
        question.question, asked,
        std::regex("\nQuestion: Find all variables that are assigned the value ([0-9]{5}) in the "
                   "text above\\.")));
    EXPECT_EQ(question.answer_begin,
              " Answer: According to the chain(s) of variable assignment in the text above, 5 "
              "variables are assigned the value " +
                  asked[1].str() + ", they are: ");
    const auto values = values_of(text.text.substr(second));
    EXPECT_EQ(values.size(), static_cast<size_t>(5 * n_chains));
    EXPECT_EQ(question.expected.size(), 5u);
    EXPECT_THAT(question.expected, UnorderedElementsAreArray(names_with(values, asked[1])));
    for (const std::string& name : question.expected) EXPECT_EQ(name.size(), 5u);

    // The example is solved as its own text says.
    EXPECT_THAT(example, StartsWith(kHead));
    EXPECT_THAT(example, EndsWith("\n\n\n\n"));
    std::smatch solved;
    ASSERT_TRUE(std::regex_search(
        example, solved,
        std::regex("5 variables are assigned the value ([0-9]{5}), they are:  ([A-Z ]+)\n")));
    std::istringstream names(solved[2].str());
    const std::vector<std::string> answer{std::istream_iterator<std::string>(names), {}};
    const std::string example_text = example.substr(0, example.find("Question:"));
    EXPECT_THAT(answer, UnorderedElementsAreArray(names_with(values_of(example_text), solved[1])));
    EXPECT_EQ(answer.size(), 5u);
  }
}

// How often each word stands in "1. one 2. two", whose numbers must ascend.
std::map<std::string, int> counts_of_list(const std::string& text) {
  std::istringstream words(text);
  std::map<std::string, int> counts;
  std::string number;
  std::string word;
  for (int n = 1; words >> number >> word; ++n) {
    EXPECT_EQ(number, std::to_string(n) + ".");
    ++counts[word];
  }
  return counts;
}

// The `n` most frequent, each of which stands more often than all others.
std::set<std::string> most_frequent(const std::map<std::string, int>& counts, size_t n) {
  std::vector<std::pair<int, std::string>> sorted;
  for (const auto& [word, count] : counts) sorted.emplace_back(count, word);
  std::ranges::sort(sorted, std::greater());
  std::set<std::string> words;
  for (size_t i = 0; i < n; ++i) words.insert(sorted.at(i).second);
  EXPECT_GT(sorted[n - 1].first, sorted.at(n).first);
  return words;
}

TEST(RulerWords, CommonOnesAreThoseThatStandMostOften) {
  constexpr const char* kHead =
      "Below is a numbered list of words. In these words, some appear more often than others. "
      "Memorize the ones that appear most often.\n";
  constexpr const char* kQuestion =
      "\nQuestion: What are the 10 most common words in the above list?";
  constexpr const char* kBegin =
      " Answer: The top 10 words that appear most often in the list are:";
  struct Case {
    int64_t ctx;
    int common, other, example_words, example_common, example_other;
  };
  for (const Case& c : {Case{2048, 6, 1, 20, 3, 1}, Case{8192, 30, 3, 40, 10, 3}}) {
    Rng rng(static_cast<uint64_t>(c.ctx));
    const RulerText text = make_common_words_text(rng, c.ctx, 12000);
    EXPECT_EQ(text.questions.at(0).question, kQuestion);
    EXPECT_EQ(text.questions[0].answer_begin, kBegin);
    const size_t second = text.text.rfind(kHead);
    const auto counts = counts_of_list(text.text.substr(second + std::string(kHead).size()));
    const std::vector<std::string>& expected = text.questions[0].expected;
    EXPECT_EQ(std::set(expected.begin(), expected.end()), most_frequent(counts, 10));
    EXPECT_EQ(expected.size(), 10u);
    std::set<int> numbers;
    for (const auto& [word, count] : counts) numbers.insert(count);
    EXPECT_EQ(numbers, (std::set<int>{c.other, c.common}));
    EXPECT_GT(counts.size(), 50u);

    std::string example = text.text.substr(0, second);
    ASSERT_THAT(example, StartsWith(kHead));
    ASSERT_TRUE(example.ends_with('\n'));
    const size_t asked = example.find(kQuestion);
    const auto example_counts = counts_of_list(
        example.substr(std::string(kHead).size(), asked - std::string(kHead).size()));
    EXPECT_EQ(example_counts.size(), static_cast<size_t>(c.example_words));
    const std::string answer = example.substr(asked + std::string(kQuestion).size());
    ASSERT_THAT(answer, StartsWith(std::string(kBegin) + "1. "));
    std::set<std::string> answered;
    for (const auto& [word, n] : counts_of_list(answer.substr(std::string(kBegin).size()))) {
      answered.insert(word);
      EXPECT_EQ(example_counts.at(word), c.example_common);
    }
    EXPECT_EQ(answered, most_frequent(example_counts, 10));
  }
}

TEST(RulerWords, ThereAreEnoughOfThem) {
  Rng rng(1);
  const RulerText text = make_common_words_text(rng, 131072, 400000);
  const auto counts = counts_of_list(text.text.substr(text.text.rfind("often.\n") + 7));
  EXPECT_GT(counts.size(), 7000u);
}

TEST(RulerWords, FrequentOnesAreTheThreeAfterTheDots) {
  Rng rng(4);
  for (const int64_t n_bytes : {0, 3000, 40000}) {
    const RulerText text = make_frequent_words_text(rng, 4096, n_bytes);
    const std::string head =
        "Read the following coded text and track the frequency of each coded word. Find the three "
        "most frequently appeared coded words. ";
    ASSERT_THAT(text.text, StartsWith(head));
    EXPECT_EQ(text.questions.at(0).question,
              "\nQuestion: Do not provide any explanation. Please ignore the dots '....'. What are "
              "the three most frequently appeared words in the above coded text?");
    EXPECT_EQ(text.questions[0].answer_begin,
              " Answer: According to the coded text above, the three most frequently appeared "
              "words are:");
    std::map<std::string, int> counts;
    std::istringstream words(text.text.substr(head.size()));
    int n_words = 0;
    for (std::string word; words >> word; ++n_words) ++counts[word];
    EXPECT_EQ(most_frequent(counts, 1), std::set<std::string>{"..."});
    const double share = counts.at("...") / static_cast<double>(n_words);
    EXPECT_NEAR(share, 1 / 1.645, 0.12) << "and a little more, as rare words are left out";
    counts.erase("...");
    const std::vector<std::string>& expected = text.questions[0].expected;
    EXPECT_EQ(std::set(expected.begin(), expected.end()), most_frequent(counts, 3));
    EXPECT_EQ(expected.size(), 3u);
    for (const auto& [word, n] : counts) EXPECT_EQ(word.size(), 6u);
    if (n_bytes == 0) continue;
    EXPECT_NEAR(static_cast<double>(text.text.size()) / static_cast<double>(n_bytes), 1, 0.2);
  }
}

TEST(JsonPairs, AnswersAreTheValuesOfTheObject) {
  for (const auto& [values, name] : kEnumNames<NeedleValue>) {
    Rng rng(5);
    const RulerText text = make_json_text(rng, {values, 8, 0}, "", 20000);
    const size_t begin = text.text.find('{');
    EXPECT_EQ(text.text.substr(0, begin),
              "Extract the value corresponding to the specified key in the JSON object below.\n\n"
              "JSON data:\n");
    const std::string object = text.text.substr(begin);
    EXPECT_NEAR(static_cast<double>(object.size()), 20000, 200);
    const auto json = nlohmann::json::parse(object);
    EXPECT_EQ(static_cast<size_t>(std::ranges::count(object, '\n')) + 1, json.size())
        << "a pair a line, each key once";
    ASSERT_EQ(text.questions.size(), 8u);
    std::vector<double> depths;
    for (const RetrievalQuestion& question : text.questions) {
      std::smatch key;
      ASSERT_TRUE(std::regex_match(question.question, key,
                                   std::regex("\n\nKey: \"([^\"]+)\"\nCorresponding value:")));
      EXPECT_EQ(question.expected, std::vector<std::string>{json.at(key[1].str())});
      EXPECT_EQ(question.answer_begin, "");
      depths.push_back(static_cast<double>(object.find("\"" + key[1].str() + "\":")) /
                       static_cast<double>(object.size()));
    }
    std::ranges::sort(depths);
    for (size_t i = 0; i < 8; ++i) {
      EXPECT_GT(depths[i], static_cast<double>(i) / 8 - 0.02);
      EXPECT_LT(depths[i], static_cast<double>(i + 1) / 8 + 0.02);
    }
  }
}

TEST(JsonPairs, AnObjectMayStandInsideAText) {
  const std::string passage = essay_of(6, 5000);
  Rng rng(6);
  const RulerText text = make_json_text(rng, {NeedleValue::kWords, 10, 4}, passage, 5000);
  EXPECT_EQ(text.questions.size(), 4u) << "as many as there are pairs";
  const size_t begin = text.text.find("\n\n{\"");
  const size_t end = text.text.find("\"}", begin);
  ASSERT_NE(begin, std::string::npos);
  const auto json = nlohmann::json::parse(text.text.substr(begin, end + 2 - begin));
  EXPECT_EQ(json.size(), 4u);
  const auto letters = [](std::string all) {
    std::erase_if(all, [](char c) { return c == ' ' || c == '\n'; });
    return all;
  };
  std::string rest = text.text.substr(0, begin) + text.text.substr(end + 2);
  rest.erase(0, rest.find("Text:\n") + 6);
  EXPECT_EQ(letters(rest), letters(passage)) << "nothing else has changed";
  EXPECT_THAT(make_json_text(rng, {NeedleValue::kWords, 1, 2}, "", 0).text, HasSubstr("Text:\n{"));
}

TEST(RetrievalTexts, AreTheSameOfTheSameSeed) {
  const std::string essay = essay_of(7, 4000);
  const auto make_all = [&](uint64_t seed) {
    Rng rng(seed);
    std::string all = prompt_of(make_json_text(rng, {}, "", 2000)) +
                      prompt_of(make_variable_text(rng, 1, 4, 2000)) +
                      prompt_of(make_common_words_text(rng, 4096, 2000)) +
                      prompt_of(make_frequent_words_text(rng, 4096, 2000));
    for (const RetrievalTask task : kNeedleTasks) {
      all += prompt_of(make_needle_text(rng, task, essay, 2000));
    }
    return all;
  };
  EXPECT_EQ(make_all(1), make_all(1));
  EXPECT_NE(make_all(1), make_all(2));
}

TEST(RetrievalScore, IsAShareOfTextsInTheAnswer) {
  const RetrievalFamily& all = retrieval_family("niah_multivalue");
  EXPECT_EQ(retrieval_score(all, "The numbers are 12 and 345.", {"12", "345"}), 1);
  EXPECT_EQ(retrieval_score(all, "12", {"12", "345"}), 0.5);
  EXPECT_EQ(retrieval_score(all, "", {"12"}), 0);
  EXPECT_EQ(retrieval_score(all, "anything", {}), 0);
  EXPECT_EQ(retrieval_score(all, "anything", {""}), 0) << "an empty text stands nowhere";
  EXPECT_EQ(retrieval_score(all, "ABCDE, fghij", {"abcde", "FGHIJ"}), 1);
  EXPECT_EQ(retrieval_score(all, "x12y", {"12"}), 1) << "parts of words count";
  EXPECT_EQ(retrieval_score(all, "1 2", {"12"}), 0);
  EXPECT_EQ(retrieval_score(all, "école", {"École"}), 1);
}

TEST(RetrievalScore, OfQuestionsAboutDocumentsIsWhetherAnyIsThere) {
  const RetrievalFamily& any = retrieval_family("qa_1");
  EXPECT_TRUE(any.one_is_enough);
  EXPECT_EQ(retrieval_score(any, "in the 1820s", {"1820s", "the 1830s"}), 1);
  EXPECT_EQ(retrieval_score(any, "in the 1840s", {"1820s", "the 1830s"}), 0);
  EXPECT_EQ(retrieval_score(any, "anything", {""}), 0);
  EXPECT_EQ(retrieval_score(any, "anything", {}), 0);
}

TEST(RetrievalFamilies, HaveRulersAnswerLengths) {
  EXPECT_EQ(retrieval_family("niah_single_1").answer_tokens, 128);
  EXPECT_EQ(retrieval_family("vt").answer_tokens, 30);
  EXPECT_EQ(retrieval_family("cwe").answer_tokens, 120);
  EXPECT_EQ(retrieval_family("fwe").answer_tokens, 50);
  EXPECT_EQ(retrieval_family("qa_2").answer_tokens, 32);
  EXPECT_FALSE(retrieval_family("my own").one_is_enough);
}

}  // namespace
}  // namespace chunkllm
