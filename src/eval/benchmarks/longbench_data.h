// The lines of LongBench (arXiv 2308.14508), and the prompts that its own files give them.
#pragma once

#include <cstdint>
#include <filesystem>
#include <map>
#include <nlohmann/json.hpp>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "eval/benchmarks/longbench_scores.h"

namespace chunkllm {

struct LongbenchDataset {
  std::string_view name = {};
  LongbenchMetric metric = LongbenchMetric::kF1;
  bool is_chat = true;         // asked in the model's chat template
  bool by_first_line = false;  // of an answer its first line counts
};

// Those in English and of code.
std::span<const LongbenchDataset> longbench_datasets();

struct LongbenchItem {
  const LongbenchDataset* dataset = nullptr;
  std::string context = {};
  std::string input = {};                 // the question; may be empty
  std::vector<std::string> answers = {};  // right ones, one at least
  nlohmann::json classes = {};            // a list of texts, or null
  int64_t length = 0;                     // words, as the line says
  std::string where = {};                 // file and line, for messages
};

struct LongbenchData {
  std::vector<LongbenchItem> items;
  int64_t n_chinese = 0;  // lines left out: their metrics need Chinese words
};

// Reads files and folders of lines with `dataset`, `context`, `input`, `answers`, `length` and
// `all_classes`; those of `datasets` (empty: all), at most `n_samples` of each (0: all). Throws
// Error: kInvalidArgument for a name that is no dataset or has no line; kIo; kData naming file and
// line for a field that is missing or of another kind, or a dataset that is none of LongBench's.
LongbenchData read_longbench(const std::vector<std::filesystem::path>& paths,
                             const std::vector<std::string>& datasets, int64_t n_samples);

// How a dataset is asked: `text` with {context} and {input}, and the most tokens of an answer.
struct LongbenchPrompt {
  std::string text;
  int64_t max_tokens = 0;

  // The text with both in their places; doubled braces stand for one.
  std::string with(std::string_view context, std::string_view input) const;
};

using LongbenchPrompts = std::map<std::string, LongbenchPrompt, std::less<>>;

// The prompts of the datasets of `data`, from dataset2prompt.json and dataset2maxlen.json in
// `folder`, or, if that is empty, in a folder of `paths` or that holds one of its files, or in
// `config` there. Throws Error: kInvalidArgument where they are nowhere; kIo; kData for a dataset
// that has none, or a prompt with other fields.
LongbenchPrompts read_longbench_prompts(const std::filesystem::path& folder,
                                        const std::vector<std::filesystem::path>& paths,
                                        const LongbenchData& data);

}  // namespace chunkllm
