#include "data/ruler/qa.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <nlohmann/json.hpp>
#include <set>
#include <sstream>

#include "testing/expect_error.h"
#include "testing/temp_folder.h"

namespace chunkllm {
namespace {

using nlohmann::json;
using testing::HasSubstr;
using testing::StartsWith;

// 4 articles of 3 paragraphs, each with a question that can be answered and one that cannot.
json squad() {
  json articles = json::array();
  for (int a = 0; a < 4; ++a) {
    json paragraphs = json::array();
    for (int p = 0; p < 3; ++p) {
      const std::string name = fmt::format("a{}p{}", a, p);
      paragraphs.push_back(
          {{"context", "Context " + name + " says word" + name + "."},
           {"qas",
            {{{"question", "What does " + name + " say?"},
              {"id", name},
              {"is_impossible", false},
              {"answers", {{{"text", "word" + name}}, {{"text", "says word" + name}}}}},
             {{"question", "What does it not say?"},
              {"is_impossible", true},
              {"answers", json::array()}}}}});
    }
    articles.push_back({{"title", "t"}, {"paragraphs", paragraphs}});
  }
  return {{"version", "v2.0"}, {"data", articles}};
}

json hotpot() {
  json questions = json::array();
  for (int i = 0; i < 5; ++i) {
    json context = json::array();
    for (int j = 0; j < 2; ++j) {
      context.push_back(
          {fmt::format("Title {}", i + j), {fmt::format("First {}.", i + j), " Second."}});
    }
    questions.push_back(
        {{"question", fmt::format("Which {}?", i)}, {"answer", "yes"}, {"context", context}});
  }
  return questions;
}

class QaTest : public testing::Test {
 protected:
  std::filesystem::path file(const std::string& text) {
    write_text(folder_ / "qa.json", text);
    return folder_ / "qa.json";
  }
  void refuses(const std::string& part, const json& data) {
    expect_error(ErrorCode::kData, part, [&] { read_qa_set(file(data.dump())); });
  }

  TempFolder folder_;
};

// The documents of a text, by number.
std::vector<std::string> documents_of(const std::string& text) {
  std::vector<std::string> documents;
  for (size_t i = 1;; ++i) {
    const std::string head = fmt::format("\n\nDocument {}:\n", i);
    const size_t begin = text.find(head);
    if (begin == std::string::npos) return documents;
    const size_t from = begin + head.size();
    documents.push_back(text.substr(from, text.find("\n\n", from) - from));
  }
}

TEST_F(QaTest, SquadsQuestionsStandAmongDocumentsOfTheirArticleFirst) {
  const QaSet set = read_qa_set(file(squad().dump()));
  EXPECT_EQ(set.task, RetrievalTask::kQa1);
  EXPECT_EQ(set.questions.size(), 12u);
  EXPECT_EQ(set.documents.size(), 12u);
  Rng rng(1);
  std::set<std::string> asked;
  std::set<size_t> places;
  for (int i = 0; i < 40; ++i) {
    const RulerText text = make_qa_text(rng, set, 60);
    const RetrievalQuestion& question = text.questions.at(0);
    EXPECT_THAT(text.text, StartsWith("Answer the question based on the given documents. Only give "
                                      "me the answer and do not output any other words.\n\nThe "
                                      "following are given documents.\n\nDocument 1:\n"));
    EXPECT_TRUE(
        text.text.ends_with("\n\nAnswer the question based on the given documents. Only "
                            "give me the answer and do not output any other words."));
    EXPECT_THAT(question.question, StartsWith("\n\nQuestion: What does a"));
    EXPECT_EQ(question.answer_begin, " Answer:");
    asked.insert(question.question);
    const std::vector<std::string> documents = documents_of(text.text);
    ASSERT_EQ(documents.size(), 3u) << "as many as make 60 bytes";
    EXPECT_EQ(std::set(documents.begin(), documents.end()).size(), 3u);
    const std::string article = question.expected[0].substr(4, 2);
    for (size_t d = 0; d < 3; ++d) {
      EXPECT_THAT(documents[d], HasSubstr("Context " + article));
      if (documents[d].find(question.expected[0]) != std::string::npos) places.insert(d);
    }
  }
  EXPECT_GT(asked.size(), 8u);
  EXPECT_EQ(places.size(), 3u) << "the document with the answer stands anywhere";
  EXPECT_EQ(documents_of(make_qa_text(rng, set, 120).text).size(), 5u);
  EXPECT_EQ(documents_of(make_qa_text(rng, set, 100000).text).size(), 12u);
}

TEST_F(QaTest, HotpotsQuestionsHaveAllTheirDocuments) {
  const QaSet set = read_qa_set(file(hotpot().dump()));
  EXPECT_EQ(set.task, RetrievalTask::kQa2);
  EXPECT_EQ(set.questions.size(), 5u);
  EXPECT_EQ(set.documents.size(), 6u) << "each once";
  EXPECT_EQ(set.documents[0], "Title 0\nFirst 0. Second.");
  Rng rng(2);
  const RulerText text = make_qa_text(rng, set, 1);
  const char number = text.questions[0].question[std::string("\n\nQuestion: Which ").size()];
  EXPECT_EQ(documents_of(text.text).size(), 2u);
  EXPECT_THAT(text.text, HasSubstr(fmt::format("Title {}\nFirst", number)));
  EXPECT_THAT(text.text, HasSubstr(fmt::format("Title {}\nFirst", static_cast<char>(number + 1))));
}

TEST_F(QaTest, FilesOfOtherFormsAreRefusedWithTheEntry) {
  refuses("neither SQuAD's form", json::object());
  refuses("neither SQuAD's form", "text");
  refuses("holds no questions", {{"data", json::array()}});
  refuses("holds no questions", json::array());
  json data = squad();
  data["data"][1]["paragraphs"][2].erase("context");
  refuses("qa.json, data 1, paragraph 2: the field \"context\"", data);
  data = squad();
  data["data"][0].erase("paragraphs");
  refuses("qa.json, data 0: the field \"paragraphs\"", data);
  data = squad();
  data["data"][0]["paragraphs"][0]["qas"][0]["answers"] = json::array();
  refuses("qa.json, data 0, paragraph 0, question 0: there is no answer", data);
  data["data"][0]["paragraphs"][0]["qas"][0]["answers"] = "x";
  refuses("\"answers\" must be an array", data);
  data = hotpot();
  data[3].erase("answer");
  refuses("qa.json, question 3: the field \"answer\"", data);
  data = hotpot();
  data[2]["context"][0] = "x";
  refuses("qa.json, question 2: \"context\" must have pairs", data);
  data[2]["context"] = json::array();
  refuses("qa.json, question 2: \"context\" is empty", data);
  expect_error(ErrorCode::kData, "qa.json", [&] { read_qa_set(file("{\"data\": [")); });
  expect_error(ErrorCode::kIo, "none.json", [&] { read_qa_set(folder_ / "none.json"); });
}

}  // namespace
}  // namespace chunkllm
