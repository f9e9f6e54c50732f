// chunkllm chat, spoken to over a pipe.

#include <sstream>

#include "cli/bad_input.h"

namespace chunkllm {
namespace {

using Arguments = std::vector<std::string>;
using nlohmann::json;

Arguments chat_with(const Arguments& more = {}) {
  Arguments arguments{"chat", "-m", needle_model(), "-n", "24"};
  arguments.insert(arguments.end(), more.begin(), more.end());
  return arguments;
}

ProgramResult talk(const std::string& input, const Arguments& more = {}, int exit_code = 0) {
  RunOptions options;
  options.input = input;
  ProgramResult result = run_program(chat_with(more), options);
  EXPECT_EQ(result.exit_code, exit_code) << result.err;
  return result;
}

std::vector<std::string> lines_of(const std::string& text) {
  std::vector<std::string> lines;
  std::istringstream stream(text);
  for (std::string line; std::getline(stream, line);) lines.push_back(line);
  return lines;
}

// The number before " tokens read" of each answer.
std::vector<int> tokens_read(const std::string& err) {
  std::vector<int> counts;
  for (const std::string& line : lines_of(err)) {
    if (line.find(" tokens read in ") != std::string::npos) {
      counts.push_back(std::stoi(line.substr(1)));
    }
  }
  return counts;
}

// What `generate --messages` answers to the same conversation.
std::string replayed(const Scratch& scratch, const json& messages, const Arguments& more = {}) {
  scratch.file("messages.json", messages.dump());
  Arguments arguments{
      "generate", "-m", needle_model(), "-n", "24", "--messages", scratch / "messages.json",
      "--json"};
  arguments.insert(arguments.end(), more.begin(), more.end());
  const ProgramResult result = run_program(arguments);
  EXPECT_EQ(result.exit_code, 0) << result.err;
  return json::parse(result.out).at("text");
}

TEST(Chat, ATurnReadsOnlyWhatIsNewAndRemembersTheRest) {
  const Scratch scratch;
  const std::string one_line = std::string(kFact) + " " + kQuestion;
  const ProgramResult result =
      talk(one_line + "\n" + kQuestion + "\n" + kQuestion + "\n", {"--adapter", needle_adapter()});
  const std::vector<std::string> answers = lines_of(result.out);
  ASSERT_EQ(answers.size(), 3u) << result.out;
  EXPECT_THAT(answers[0], testing::StartsWith("48213"));
  EXPECT_THAT(answers[1], testing::StartsWith("48213"));
  const std::vector<int> read = tokens_read(result.err);
  ASSERT_EQ(read.size(), 3u) << result.err;
  EXPECT_LT(read[1], read[0]) << "the fact is not read again";
  EXPECT_EQ(read[1], read[2]);
  const json messages{{{"role", "user"}, {"content", one_line}},
                      {{"role", "assistant"}, {"content", answers[0]}},
                      {{"role", "user"}, {"content", kQuestion}},
                      {{"role", "assistant"}, {"content", answers[1]}},
                      {{"role", "user"}, {"content", kQuestion}}};
  EXPECT_EQ(answers[2], replayed(scratch, messages, {"--adapter", needle_adapter()}));
}

TEST(Chat, ClearForgetsAndSystemIsReadAgain) {
  const std::string first = std::string(kFact) + " " + kQuestion;
  const ProgramResult result = talk(first + "\n/clear\n" + first + "\n/system " + kFact + "\n" +
                                    kQuestion + "\n/system\n/exit\nnever read\n");
  EXPECT_EQ(lines_of(result.out).size(), 3u) << result.out;
  const std::vector<int> read = tokens_read(result.err);
  ASSERT_EQ(read.size(), 3u);
  EXPECT_EQ(lines_of(result.out)[0], lines_of(result.out)[1]);
  EXPECT_GT(read[2], read[0]) << "a new begin means that all is read again";
  EXPECT_THAT(result.err, testing::HasSubstr("no system message"));
}

TEST(Chat, MessagesOfSeveralLines) {
  const Scratch scratch;
  const std::string text = std::string(kFact) + "\n\n" + kQuestion;
  const json messages{{{"role", "user"}, {"content", text}}};
  const std::string expected = replayed(scratch, messages) + "\n";
  EXPECT_EQ(talk(std::string(kFact) + "\\\n\\\n" + kQuestion + "\n").out, expected);
  EXPECT_EQ(talk("\"\"\"\n" + text + "\n\"\"\"\n").out, expected);
  EXPECT_EQ(talk("\"\"\"\n" + text).out, expected) << "the input may end inside";
  EXPECT_EQ(talk(text.substr(0, 5) + "\n/clear\n\n   \n\"\"\"\n" + text + "\n\"\"\"\n/exit\n").out,
            talk(text.substr(0, 5) + "\n").out + expected)
      << "empty lines are no messages";
}

TEST(Chat, ABlockIsAMessageWhateverItBeginsWith) {
  const Scratch scratch;
  for (const std::string text : {"/* add two numbers */\nint add(int a, int b);", "/exit", "/clear",
                                 "/system x", "/nope", "//", "\n/exit"}) {
    const ProgramResult result = talk("\"\"\"\n" + text + "\n\"\"\" \n/help\n");
    const json messages{{{"role", "user"}, {"content", text}}};
    EXPECT_EQ(result.out, replayed(scratch, messages) + "\n") << text;
    EXPECT_THAT(result.err, testing::HasSubstr("/system TEXT")) << "the chat goes on";
    EXPECT_THAT(result.err, testing::Not(testing::HasSubstr("error"))) << text;
  }
}

TEST(Chat, HelpUnknownCommandsAndErrorsKeepTheSessionAlive) {
  std::string long_text;
  for (int i = 0; i < 100; ++i) long_text += "The old man walked to the river. ";
  const std::string first = std::string(kFact) + " " + kQuestion;
  const ProgramResult result = talk("/help\n/nope\nbad \xff\n" + long_text + "\n" + first + "\n",
                                    {"--ctx", "120"}, kFailure);
  EXPECT_THAT(result.err, testing::HasSubstr("/system TEXT"));
  EXPECT_THAT(result.err, testing::HasSubstr("error: \"/nope\" is no command"));
  EXPECT_THAT(result.err, testing::HasSubstr("UTF-8"));
  EXPECT_THAT(result.err, testing::HasSubstr("the context has 120; use /clear"));
  EXPECT_THAT(result.err, testing::HasSubstr("error: 3 of 5 messages and commands failed"));
  EXPECT_EQ(result.out, talk(first + "\n").out) << "what failed left nothing behind";
}

TEST(Chat, StopAndSystemOptionsHold) {
  const ProgramResult result = talk(std::string(kQuestion) + "\n", {"--system", kFact});
  EXPECT_THAT(result.out, testing::StartsWith("48213"));
  const ProgramResult stopped =
      talk(std::string(kQuestion) + "\n", {"--system", kFact, "--stop", "213"});
  EXPECT_EQ(stopped.out, "48\n");
}

// The first signal stops the answer; what was shown is part of the conversation that goes on.
TEST(Chat, CtrlCStopsTheAnswerOnly) {
  const Scratch scratch;
  const std::string story = "The old man walked to the river.";
  RunOptions options;
  options.input = story + "\n/clear\n" + kFact + " " + kQuestion + "\n";
  options.interrupt_when = [](const ProgramResult& so_far) { return so_far.out.size() > 20; };
  const ProgramResult result = run_program({"chat", "-m", needle_model(), "--ignore-eos", "-n",
                                            "3000", "--stop", "48213", "--temp", "0"},
                                           options);
  EXPECT_EQ(result.exit_code, 0) << result.err;
  EXPECT_THAT(result.err, testing::HasSubstr("[interrupted]"));
  EXPECT_THAT(result.err, testing::HasSubstr("the conversation begins anew"));
}

TEST(Chat, TheTurnAfterAnInterruptedAnswerReadsOnlyWhatIsNew) {
  RunOptions options;
  options.input = training_text(20) + "\n" + kQuestion + "\n";
  options.interrupt_when = [](const ProgramResult& so_far) { return so_far.out.size() > 20; };
  const ProgramResult result = run_program(
      {"chat", "-m", needle_model(), "--temp", "3", "--seed", "1", "--ignore-eos", "-n", "500"},
      options);
  EXPECT_EQ(result.exit_code, 0) << result.err;
  EXPECT_THAT(result.err, testing::HasSubstr("[interrupted]"));
  const std::vector<int> read = tokens_read(result.err);
  ASSERT_EQ(read.size(), 1u) << "of the second answer: " << result.err;
  EXPECT_LT(read[0], 60) << "the question, and the end of the answer before it";
}

TEST(Chat, CtrlCAtThePromptLeaves) {
  RunOptions options;
  options.input = std::string(kQuestion) + "\n";
  options.keep_input_open = true;
  options.interrupt_when = [](const ProgramResult& so_far) {
    return so_far.err.find("tokens used") != std::string::npos;
  };
  const ProgramResult result = run_program(chat_with(), options);
  expect_failure(result, kInterrupted, {"interrupted"}, "interrupted_chat_prompt", true);
}

TEST(Chat, NeedsAChatTemplate) {
  const Scratch scratch;
  const std::string model =
      scratch.with_json(needle_model(), "tokenizer_config.json",
                        [](nlohmann::ordered_json& config) { config.erase("chat_template"); });
  const ProgramResult result = run_program({"chat", "-m", model});
  expect_failure(result, kFailure, {"chat template"}, "chat_without_template");
}

TEST(Chat, AMessageThatIsNoTextIsSaidToBeSo) {
  const ProgramResult result = talk("ab\xff\nThe river\n", {}, kFailure);
  EXPECT_THAT(result.err, testing::HasSubstr("error: this message is not valid UTF-8 at byte 2"));
  EXPECT_EQ(tokens_read(result.err).size(), 1u) << "the chat goes on";
}

TEST(Chat, AnEmptySystemMessageIsOne) {
  const auto n_read = [](const Arguments& more) {
    return tokens_read(talk("The river\n", more).err).at(0);
  };
  EXPECT_GT(n_read({"--system="}), n_read({}));
}

}  // namespace
}  // namespace chunkllm
