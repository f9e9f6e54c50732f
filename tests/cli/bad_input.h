// One thing that cannot be used, how the program is given it, and what it must answer.
#pragma once

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cstdio>
#include <functional>
#include <ostream>
#include <string>
#include <vector>

#include "cli/run_program.h"
#include "cli/scratch.h"

namespace chunkllm {

constexpr int kFailure = 1;
constexpr int kUsage = 2;
constexpr int kInterrupted = 130;

struct Command {
  std::vector<std::string> arguments;
  RunOptions options = {};
};

struct BadInput {
  std::string name;
  int exit_code = kFailure;
  std::vector<std::string> parts;  // of the message: what, where, what to do
  std::function<Command(const Scratch&)> command;
};

inline void PrintTo(const BadInput& bad, std::ostream* out) { *out << bad.name; }

inline std::string bad_input_name(const testing::TestParamInfo<BadInput>& info) {
  return info.param.name;
}

// The lines of `text` that begin with "error", in whatever case.
inline std::vector<std::string> error_lines(const std::string& text) {
  std::vector<std::string> lines;
  std::istringstream stream(text);
  for (std::string line; std::getline(stream, line);) {
    std::string start = line.substr(0, 5);
    std::ranges::transform(start, start.begin(), [](unsigned char c) { return std::tolower(c); });
    if (start == "error") lines.push_back(line);
  }
  return lines;
}

// Expects the end that every failure has: the exit code, nothing on standard output, one line
// `error: ...` on standard error as the last one. Returns that line, and prints it, so that a run
// of all tests shows the table of messages.
inline std::string expect_failure(const ProgramResult& result, int exit_code,
                                  const std::vector<std::string>& parts, const std::string& name,
                                  bool output_may_have_begun = false) {
  EXPECT_FALSE(result.timed_out) << "the program did not end";
  EXPECT_EQ(result.signal, 0) << "a signal ended the program: " << result.err;
  EXPECT_EQ(result.exit_code, exit_code) << result.err;
  if (!output_may_have_begun) {
    EXPECT_EQ(result.out, "");
  }
  const std::vector<std::string> lines = error_lines(result.err);
  EXPECT_EQ(lines.size(), 1u) << result.err;
  if (lines.size() != 1) return "";
  const std::string& line = lines.front();
  EXPECT_THAT(line, testing::StartsWith("error: "));
  EXPECT_TRUE(result.err.ends_with(line + "\n"))
      << "the error is not the last line: " << result.err;
  EXPECT_LT(line.size(), 600u) << line;
  for (const std::string& part : parts) EXPECT_THAT(line, testing::HasSubstr(part));
  std::printf("%-34s exit %3d  %s\n", name.c_str(), result.exit_code, line.c_str());
  return line;
}

// Gives the program the input and expects the answer, and that nothing was written to `out`.
inline void check_bad_input(const BadInput& bad) {
  const Scratch scratch;
  const Command command = bad.command(scratch);
  const ProgramResult result = run_program(command.arguments, command.options);
  expect_failure(result, bad.exit_code, bad.parts, bad.name);
  EXPECT_THAT(list_files(scratch.path("out")), testing::IsEmpty());
}

// `generate` on a model with more arguments.
inline Command generate_with(const std::string& model, std::vector<std::string> more = {}) {
  Command command{{"generate", "--model", model, "--prompt", "Hello there.", "--max-tokens", "2"}};
  command.arguments.insert(command.arguments.end(), more.begin(), more.end());
  return command;
}

// `bench` on a model with more arguments; needs no tokenizer.
inline Command bench_with(const std::string& model, std::vector<std::string> more = {}) {
  Command command{{"bench", "--model", model, "-p", "16", "-n", "2", "-r", "1"}};
  command.arguments.insert(command.arguments.end(), more.begin(), more.end());
  return command;
}

}  // namespace chunkllm
