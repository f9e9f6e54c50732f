// The task `choice`: multiple choice by likelihood.
#pragma once

#include <cstdint>
#include <filesystem>
#include <memory>
#include <string>
#include <vector>

#include "eval/task.h"

namespace chunkllm {

inline constexpr const char* kByLength = "by length";  // the name of a measure

// What is asked, what may follow it, and which of these is right.
struct ChoiceItem {
  std::string query;
  std::vector<std::string> choices;  // at least one, none of them empty
  int64_t gold = 0;                  // index into `choices`
  std::string where;                 // file and line, for messages
};

// The items of a file of JSON lines, {"query": TEXT, "choices": [TEXT, ...], "gold": N}; other
// fields are passed over, as are blank lines. Throws Error: kIo; kData naming file and line for a
// field that is missing or not of that kind, an empty query, list or choice, or a gold that is no
// index into the list.
std::vector<ChoiceItem> read_choice_items(const std::filesystem::path& file);

// The choice with the largest log-likelihood given the query counts, plain ("score") and divided by
// its bytes ("by length"). A sample is an item. Throws Error as read_choice_items() does; kData
// naming the line of an item that is longer than the largest --ctx, if that is given, or than the
// model's context.
std::unique_ptr<EvalWork> prepare_choice(const Engine& engine, const EvalOptions& options);

}  // namespace chunkllm
