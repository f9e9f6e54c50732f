// RULER's own lines: prompts that its scripts have made.
#pragma once

#include <cstdint>
#include <filesystem>
#include <string>
#include <vector>

namespace chunkllm {

struct RulerLine {
  std::string task;  // by the field `task`, else the file's name
  int64_t index = 0;
  std::string input;
  std::string answer_begin;           // the field answer_prefix, or what `input` ends in
  std::vector<std::string> expected;  // one at least, none of them empty
  int64_t length = 0;                 // tokens of prompt and answer by the tokenizer of its maker
  std::string where;                  // file and line, for messages
};

// The task that a file's name says: "vt" of vt.jsonl, and of vt/validation.jsonl and vt/test.jsonl,
// as RULER's scripts write them.
std::string ruler_task_of(const std::filesystem::path& file);

// The lines of a file, {"index": N, "input": TEXT, "outputs": [TEXT, ...], "length": N}, perhaps
// with "answer_prefix": TEXT and "task": TEXT; other fields are passed over, as are blank lines.
// Where a line has no answer_prefix the first words of the answer are cut from the end of its
// input, where RULER's older scripts left them. Throws Error: kIo; kData naming file and line for a
// field that is missing or not of that kind, an empty input, list or output, and for a file without
// lines.
std::vector<RulerLine> read_ruler_lines(const std::filesystem::path& file);

}  // namespace chunkllm
