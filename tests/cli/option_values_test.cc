// What becomes of the text of an option's value: numbers are decimal, texts and paths are taken as
// they are.

#include <regex>
#include <sstream>

#include "cli/bad_input.h"

namespace chunkllm {
namespace {

using Arguments = std::vector<std::string>;
using nlohmann::json;

constexpr const char* kStory = ", and the man who had been in the house of the";

ProgramResult tell(const Arguments& more) {
  Arguments arguments{"generate", "-m", needle_model(), "-t", "1", "-p", "Once upon a time",
                      "-n",       "12"};
  arguments.insert(arguments.end(), more.begin(), more.end());
  return run_program(arguments);
}

// The options of a command that take a number of this kind, as its help names them.
std::vector<std::string> options_of_type(const std::string& command, const std::string& types) {
  const ProgramResult help = run_program({command, "--help"});
  EXPECT_EQ(help.exit_code, 0);
  std::vector<std::string> names;
  const std::regex line_of("^  (?:-[a-z],)?(-[^ ,]+)(?:,[^ ]+)? (?:" + types + ")[:=, ].*");
  std::istringstream lines(help.out);
  for (std::string line; std::getline(lines, line);) {
    std::smatch parts;
    if (std::regex_match(line, parts, line_of)) names.push_back(parts[1]);
  }
  return names;
}

// A command line of `command` that lacks nothing else.
Arguments complete(const std::string& command) {
  if (command == "quantize") return {command, needle_model(), "out.gguf", "--type", "f16"};
  if (command == "inspect") return {command, needle_model()};
  Arguments arguments{command, "--model", needle_model()};
  if (command == "generate") arguments.insert(arguments.end(), {"--prompt", "x"});
  if (command == "train") arguments.insert(arguments.end(), {"--data", "d", "--out", "o"});
  return arguments;
}

const std::vector<std::pair<std::string, int>>& commands() {
  // With the whole numbers that their help names; fewer would mean that the test looks past some.
  static const std::vector<std::pair<std::string, int>> list{
      {"generate", 10}, {"chat", 10}, {"bench", 10}, {"train", 7}, {"inspect", 1}, {"quantize", 1}};
  return list;
}

TEST(OptionValues, WholeNumbersAreDecimalInEveryCommand) {
  for (const auto& [command, n_least] : commands()) {
    const std::vector<std::string> names = options_of_type(command, "INT|UINT|N|N,\\.\\.\\.");
    EXPECT_GE(std::ssize(names), n_least) << command;
    for (const std::string& name : names) {
      for (const std::string text : {"0x10", "1e3", "+5", " 5", "5 ", "8k", "1_000", "3.0", "",
                                     "five", "\xd9\xa3", "99999999999999999999"}) {
        Arguments arguments = complete(command);
        arguments.insert(arguments.end(), {name, text});
        const ProgramResult result = run_program(arguments);
        EXPECT_EQ(result.exit_code, kUsage) << command << ' ' << name << ' ' << text;
        EXPECT_THAT(error_lines(result.err),
                    testing::ElementsAre(testing::AnyOf(
                        testing::ContainsRegex("is no whole number in decimal digits"),
                        testing::ContainsRegex("is not in the range"),
                        testing::ContainsRegex("must be a number from"))))
            << command << ' ' << name << ' ' << text;
      }
    }
  }
}

TEST(OptionValues, FractionsAreDecimalInEveryCommand) {
  int n_names = 0;
  for (const auto& [command, n_least] : commands()) {
    for (const std::string& name : options_of_type(command, "FLOAT")) {
      ++n_names;
      for (const std::string text : {"0x1p-1", " 0.5", "0,5", ""}) {
        Arguments arguments = complete(command);
        arguments.insert(arguments.end(), {name, text});
        const ProgramResult result = run_program(arguments);
        EXPECT_EQ(result.exit_code, kUsage) << command << ' ' << name << ' ' << text;
        EXPECT_EQ(error_lines(result.err).size(), 1u) << command << ' ' << name << ' ' << text;
      }
    }
  }
  EXPECT_GE(n_names, 11);
}

TEST(OptionValues, LeadingZerosSayNothing) {
  const ProgramResult ten =
      run_program({"generate", "-m", needle_model(), "-p", "Once", "-t", "1", "--json",
                   "--ignore-eos", "--max-tokens=010", "--ctx", "0128"});
  ASSERT_EQ(ten.exit_code, 0) << ten.err;
  EXPECT_EQ(json::parse(ten.out).at("generated_tokens"), 10);
  const auto text_of = [](const std::string& seed) {
    return tell({"--temp", "01.0", "-s", seed}).out;
  };
  EXPECT_EQ(text_of("010"), text_of("10"));
  EXPECT_EQ(text_of("09"), text_of("9"));
  EXPECT_NE(text_of("010"), text_of("8"));
  const ProgramResult bench = run_program(
      {"bench", "-m", needle_model(), "-p", "08,010", "-n", "0", "-r", "01", "-o", "json"});
  ASSERT_EQ(bench.exit_code, 0) << bench.err;
  EXPECT_THAT(bench.out, testing::HasSubstr("pp8"));
  EXPECT_THAT(bench.out, testing::HasSubstr("pp10"));
}

TEST(OptionValues, TextsAreTakenWhole) {
  for (const std::string stop : {"[man]", "[xyz,who]", "[]", "{}", "%%", "[the", "-x", "--json",
                                 "man,house", "\"the\"", "a=b", "\\n"}) {
    EXPECT_EQ(tell({"--stop", stop}).out, std::string(kStory) + "\n") << stop;
    EXPECT_EQ(tell({"--stop=" + stop}).out, std::string(kStory) + "\n") << stop;
  }
  EXPECT_EQ(tell({"--stop", " house", "--stop", "[man]"}).out,
            ", and the man who had been in the\n");
  expect_failure(tell({"--stop="}), kUsage, {"--stop is empty"}, "stop_of_nothing");
  expect_failure(tell({"--system=", "--policy", "nope"}), kUsage, {"--policy nope"},
                 "system_of_nothing");
  const ProgramResult prompt =
      run_program({"generate", "-m", needle_model(), "--prompt=[a,b]", "-n", "1", "--json"});
  const ProgramResult same =
      run_program({"generate", "-m", needle_model(), "-p", "[a,b]", "-n", "1", "--json"});
  EXPECT_GT(json::parse(prompt.out).at("prompt_tokens"), 3);
  EXPECT_EQ(json::parse(prompt.out).at("prompt_tokens"), json::parse(same.out).at("prompt_tokens"));
}

TEST(OptionValues, PathsAreTakenWhole) {
  const Scratch scratch;
  for (const std::string name : {"[2024]", "a,b", "{}", "[eval]"}) {
    std::filesystem::create_directories(scratch.path(name));
    scratch.file(name + "/a.txt", training_text(name == "[eval]" ? 50 : 40));
  }
  RunOptions options;
  Arguments arguments{"train",
                      "-m",
                      needle_model(),
                      "--epochs",
                      "1",
                      "--seq-len",
                      "256",
                      "--sequences",
                      "1",
                      "--out",
                      scratch / "out",
                      "--json",
                      "--data",
                      scratch / "[2024]",
                      scratch / "a,b",
                      "--data",
                      scratch / "{}",
                      "--eval-data",
                      scratch / "[eval]"};
  const ProgramResult result = run_program(arguments);
  EXPECT_EQ(result.exit_code, 0) << result.err;
  expect_failure(run_program({"train", "-m", needle_model(), "--data", "[2024]", "--out", "out"}),
                 kFailure, {"[2024] does not exist"}, "bracketed_folder");
}

TEST(OptionValues, AnEmptyNameIsNotAsIfTheOptionWereLeftOut) {
  const std::string model = needle_model();
  const auto refused = [](Arguments arguments, const std::string& option,
                          const std::string& instead) {
    arguments.push_back(option + "=");
    expect_failure(run_program(arguments), kUsage, {option + ":", "is empty", instead},
                   arguments[0] + " " + option);
  };
  for (const std::string command : {"generate", "chat", "bench", "inspect"}) {
    refused(complete(command), "--adapter", "--adapter none");
  }
  for (const std::string option : {"--save-cache", "--load-cache", "--policy"}) {
    refused(complete("generate"), option, "leave it out");
  }
  for (const std::string option : {"--prompt-file", "--messages", "--input"}) {
    refused({"generate", "-m", model}, option, "name a file");
  }
  refused({"generate", "-m", model, "--input", "x"}, "--output", "name a file");
  refused({"train", "-m", model}, "--out", "name a folder");
  refused({"train", "-m", model, "--out", "o"}, "--lessons", "leave it out");
  refused({"generate", "-p", "x"}, "--model", "name a folder or a GGUF file");
  expect_failure(run_program({"inspect", ""}), kUsage, {"path", "is empty"}, "inspect nothing");
  expect_failure(run_program({"quantize", "--type", "f16", model, ""}), kUsage, {"out", "is empty"},
                 "quantize to nothing");
}

TEST(OptionValues, ListsNameEachValue) {
  const auto bench = [](const Arguments& more) {
    Arguments arguments{"bench", "-m", needle_model(), "-n", "0", "-r", "1", "-o", "json"};
    arguments.insert(arguments.end(), more.begin(), more.end());
    return run_program(arguments);
  };
  for (const std::string list : {"[8,9]", "8,,9", "8,", ",8", "{}", "8;9"}) {
    expect_failure(bench({"-p", list}), kUsage, {"-p", "whole number"}, "bench_list " + list);
  }
  for (const std::string list : {"[full]", "full,", "{}"}) {
    expect_failure(bench({"-p", "8", "--policy", list}), kUsage, {"--policy"},
                   "bench_policies " + list);
  }
  EXPECT_THAT(bench({"-p", "8", "9"}).out, testing::HasSubstr("pp9"));
}

}  // namespace
}  // namespace chunkllm
