#include "data/ruler/lines.h"

#include <gtest/gtest.h>

#include "testing/expect_error.h"
#include "testing/temp_folder.h"

namespace chunkllm {
namespace {

constexpr const char* kGood =
    "{\"index\": 7, \"input\": \"a text\\nWhat?\", \"outputs\": [\"b\", \"c\"], \"length\": 12, "
    "\"answer_prefix\": \" So:\", \"others\": {}}\n";

class RulerLinesTest : public testing::Test {
 protected:
  std::vector<RulerLine> read(const std::string& name, const std::string& text) {
    std::filesystem::create_directories((folder_ / name).parent_path());
    write_text(folder_ / name, text);
    return read_ruler_lines(folder_ / name);
  }
  void refuses(const std::string& part, const std::string& line) {
    expect_error(ErrorCode::kData, part, [&] { read("a.jsonl", kGood + line + "\n"); });
  }

  TempFolder folder_;
};

TEST_F(RulerLinesTest, FieldsAreRead) {
  const std::vector<RulerLine> lines = read("cwe.jsonl", std::string("\n") + kGood);
  ASSERT_EQ(lines.size(), 1u);
  EXPECT_EQ(lines[0].task, "cwe");
  EXPECT_EQ(lines[0].index, 7);
  EXPECT_EQ(lines[0].input, "a text\nWhat?");
  EXPECT_EQ(lines[0].answer_begin, " So:");
  EXPECT_EQ(lines[0].expected, (std::vector<std::string>{"b", "c"}));
  EXPECT_EQ(lines[0].length, 12);
  EXPECT_TRUE(lines[0].where.ends_with("cwe.jsonl, line 2"));
}

TEST_F(RulerLinesTest, TasksAreNamedByFileFolderOrField) {
  EXPECT_EQ(read("vt/validation.jsonl", kGood)[0].task, "vt");
  EXPECT_EQ(read("vt/test.jsonl", kGood)[0].task, "vt");
  EXPECT_EQ(read("vt/mine.jsonl", kGood)[0].task, "mine");
  EXPECT_EQ(ruler_task_of("validation.jsonl"), "validation");
  std::string line = kGood;
  line.insert(1, "\"task\": \"qa_1\", ");
  EXPECT_EQ(read("vt.jsonl", line)[0].task, "qa_1");
}

// RULER's older scripts wrote the first words of the answer behind the question.
TEST_F(RulerLinesTest, FirstWordsOfTheAnswerAreCutFromTheInput) {
  const auto read_one = [&](const std::string& name, const std::string& input) {
    return read(name, "{\"index\": 0, \"input\": \"" + input +
                          "\", \"outputs\": [\"b\"], \"length\": 9}")[0];
  };
  RulerLine line = read_one("niah_single_1.jsonl",
                            "A text.\\nWhat is the special magic number for a-b mentioned? The "
                            "special magic number for a-b mentioned in the provided text is");
  EXPECT_EQ(line.input, "A text.\nWhat is the special magic number for a-b mentioned?");
  EXPECT_EQ(line.answer_begin,
            " The special magic number for a-b mentioned in the provided text is");
  line = read_one("qa_1.jsonl", "Answer the question. Answer: no\\n\\nQuestion: Who? Answer:");
  EXPECT_EQ(line.input, "Answer the question. Answer: no\n\nQuestion: Who?");
  EXPECT_EQ(line.answer_begin, " Answer:");
  line = read_one("qa_1.jsonl", "One. Answer: no\\nQuestion: Who?");
  EXPECT_EQ(line.answer_begin, "") << "an example's answer is none of this one";
  line = read_one("mine.jsonl", "Question: Who? Answer:");
  EXPECT_EQ(line.answer_begin, "");
}

TEST_F(RulerLinesTest, LinesThatAreNoneAreNamed) {
  refuses("a.jsonl, line 2", "{\"index\":");
  refuses("a.jsonl, line 2", "[1]");
  refuses("line 2: the field \"index\"", R"({"input":"a","outputs":["b"],"length":1})");
  refuses("line 2: the field \"input\"", R"({"index":0,"outputs":["b"],"length":1})");
  refuses("line 2: the field \"outputs\"", R"({"index":0,"input":"a","length":1})");
  refuses("line 2: the field \"length\"", R"({"index":0,"input":"a","outputs":["b"]})");
  refuses("line 2: outputs must be a list", R"({"index":0,"input":"a","outputs":[],"length":1})");
  refuses("line 2: outputs must be a list", R"({"index":0,"input":"a","outputs":"b","length":1})");
  refuses("line 2: an output is empty", R"({"index":0,"input":"a","outputs":["b",""],"length":1})");
  refuses("line 2: outputs must be a list", R"({"index":0,"input":"a","outputs":[3],"length":1})");
  refuses("line 2: input is empty", R"({"index":0,"input":"","outputs":["b"],"length":1})");
  for (const std::string length : {"0", "-5", "1.5", "\"9\"", "[9]", "99999999999999999999"}) {
    refuses("line 2: \"length\"",
            R"({"index":0,"input":"a","outputs":["b"],"length":)" + length + "}");
  }
  refuses("index", R"({"index":"x","input":"a","outputs":["b"],"length":1})");
  refuses("answer_prefix",
          R"({"index":0,"input":"a","outputs":["b"],"length":1,"answer_prefix":1})");
  expect_error(ErrorCode::kData, "holds no lines", [&] { read("a.jsonl", "\n"); });
  expect_error(ErrorCode::kIo, "none.jsonl", [&] { read_ruler_lines(folder_ / "none.jsonl"); });
}

}  // namespace
}  // namespace chunkllm
