#include "eval/benchmarks/longbench_data.h"

#include <algorithm>
#include <functional>

#include "base/error.h"
#include "base/json.h"
#include "data/json_lines.h"
#include "eval/benchmarks/python_text.h"

namespace chunkllm {
namespace {

constexpr const char* kPromptFile = "dataset2prompt.json";
constexpr const char* kLengthFile = "dataset2maxlen.json";

constexpr LongbenchDataset kDatasets[] = {
    {"narrativeqa", LongbenchMetric::kF1},
    {"qasper", LongbenchMetric::kF1},
    {"multifieldqa_en", LongbenchMetric::kF1},
    {"hotpotqa", LongbenchMetric::kF1},
    {"2wikimqa", LongbenchMetric::kF1},
    {"musique", LongbenchMetric::kF1},
    {"gov_report", LongbenchMetric::kRouge},
    {"qmsum", LongbenchMetric::kRouge},
    {"multi_news", LongbenchMetric::kRouge},
    {"trec", LongbenchMetric::kClass, false, true},
    {"triviaqa", LongbenchMetric::kF1, false, true},
    {"samsum", LongbenchMetric::kRouge, false, true},
    {"passage_count", LongbenchMetric::kCount},
    {"passage_retrieval_en", LongbenchMetric::kParagraph},
    {"lcc", LongbenchMetric::kCode, false},
    {"repobench-p", LongbenchMetric::kCode, false},
};

constexpr std::string_view kChinese[] = {"multifieldqa_zh", "dureader", "vcsum", "lsht",
                                         "passage_retrieval_zh"};

const LongbenchDataset* find_dataset(std::string_view name) {
  const auto found = std::ranges::find(kDatasets, name, &LongbenchDataset::name);
  return found != std::end(kDatasets) ? found : nullptr;
}

std::string dataset_names() {
  std::string names;
  for (const LongbenchDataset& dataset : kDatasets) {
    names += (names.empty() ? "" : ", ") + std::string(dataset.name);
  }
  return names;
}

LongbenchItem read_item(const nlohmann::json& record, const LongbenchDataset& dataset,
                        const std::string& where) {
  const JsonFields fields(record, where);
  LongbenchItem item{.dataset = &dataset,
                     .context = fields.string("context"),
                     .input = fields.string("input"),
                     .answers = read_texts(record, "answers", where),
                     .classes = nullptr,
                     .length = fields.integer("length", 0, int64_t{1} << 40),
                     .where = where};
  if (python_strip(item.context).empty()) {
    fail(ErrorCode::kData, "{}: context is empty; give the text", where);
  }
  const bool needs_classes = dataset.metric == LongbenchMetric::kClass;
  if (needs_classes || fields.has("all_classes")) {
    item.classes = read_texts(record, "all_classes", where);
  }
  const auto is_blank = [](const std::string& answer) { return python_strip(answer).empty(); };
  if (std::ranges::all_of(item.answers, is_blank)) {
    fail(ErrorCode::kData, "{}: all answers are empty; give one at least", where);
  }
  for (const std::string& answer : item.answers) {
    if (dataset.metric != LongbenchMetric::kParagraph || !paragraph_number(answer).empty())
      continue;
    fail(ErrorCode::kData, "{}: the answer {} names no \"Paragraph N\"", where, show_text(answer));
  }
  return item;
}

std::filesystem::path find_prompts(const std::vector<std::filesystem::path>& paths) {
  for (const std::filesystem::path& path : paths) {
    std::error_code error;
    const std::filesystem::path folder =
        std::filesystem::is_directory(path, error) ? path : path.parent_path();
    for (const std::filesystem::path& place : {folder, folder / "config"}) {
      if (std::filesystem::exists(place / kPromptFile, error)) return place;
    }
  }
  fail(ErrorCode::kInvalidArgument,
       "{} stands nowhere beside --data; give --prompts a folder with LongBench's {} and {} (the "
       "folder config of its repository, github.com/THUDM/LongBench)",
       kPromptFile, kPromptFile, kLengthFile);
}

// Hands over each piece of a prompt: text, or the name of a field. `where` is for messages.
void for_each_piece(std::string_view prompt, const std::string& where,
                    const std::function<void(std::string_view text, bool is_field)>& take) {
  while (!prompt.empty()) {
    const size_t brace = std::min(prompt.find_first_of("{}"), prompt.size());
    if (brace > 0) take(prompt.substr(0, brace), false);
    prompt.remove_prefix(brace);
    if (prompt.empty()) break;
    if (prompt.size() > 1 && prompt[1] == prompt[0]) {
      take(prompt.substr(0, 1), false);
      prompt.remove_prefix(2);
      continue;
    }
    const size_t end = prompt.find('}');
    const std::string_view name =
        end == std::string_view::npos || end == 0 ? "" : prompt.substr(1, end - 1);
    if (name != "context" && name != "input") {
      fail(ErrorCode::kData, "{}: a prompt may have the fields {{context}} and {{input}}, found {}",
           where, show_text(prompt.substr(0, std::min(end, prompt.size() - 1) + 1)));
    }
    take(name, true);
    prompt.remove_prefix(end + 1);
  }
}

}  // namespace

std::span<const LongbenchDataset> longbench_datasets() { return kDatasets; }

LongbenchData read_longbench(const std::vector<std::filesystem::path>& paths,
                             const std::vector<std::string>& datasets, int64_t n_samples) {
  std::map<std::string, int64_t, std::less<>> n_of;
  for (const std::string& name : datasets) {
    if (find_dataset(name) == nullptr) {
      fail(ErrorCode::kInvalidArgument,
           "--tasks {}: no dataset of LongBench that is scored here; name some of {}",
           show_text(name), dataset_names());
    }
  }
  LongbenchData data;
  for (const std::filesystem::path& file : json_line_files(paths)) {
    for_each_json_line(file, [&](const nlohmann::json& record, const std::string& where) {
      const std::string name = JsonFields(record, where).string("dataset");
      if (std::ranges::find(kChinese, name) != std::end(kChinese)) {
        ++data.n_chinese;
        return;
      }
      const LongbenchDataset* dataset = find_dataset(name);
      if (dataset == nullptr) {
        fail(ErrorCode::kData, "{}: dataset {} is none of LongBench's ({})", where, show_text(name),
             dataset_names());
      }
      if (!datasets.empty() && std::ranges::find(datasets, name) == datasets.end()) return;
      int64_t& n = n_of[name];
      LongbenchItem item = read_item(record, *dataset, where);
      if (n_samples == 0 || n < n_samples) data.items.push_back(std::move(item));
      ++n;
    });
  }
  for (const std::string& name : datasets) {
    if (n_of.contains(name)) continue;
    fail(ErrorCode::kInvalidArgument, "--tasks {}: --data has no line of this dataset", name);
  }
  if (data.items.empty()) {
    fail(ErrorCode::kData, "{} holds no lines of LongBench in English or of code; {}",
         paths.front().string(),
         data.n_chinese > 0 ? "its Chinese datasets are not scored" : "give its .jsonl files");
  }
  return data;
}

std::string LongbenchPrompt::with(std::string_view context, std::string_view input) const {
  std::string full;
  for_each_piece(text, kPromptFile, [&](std::string_view piece, bool is_field) {
    full += !is_field ? piece : piece == "context" ? context : input;
  });
  return full;
}

LongbenchPrompts read_longbench_prompts(const std::filesystem::path& folder,
                                        const std::vector<std::filesystem::path>& paths,
                                        const LongbenchData& data) {
  const std::filesystem::path place = folder.empty() ? find_prompts(paths) : folder;
  const std::string prompt_file = (place / kPromptFile).string();
  const nlohmann::json prompts = read_json_file(prompt_file);
  const nlohmann::json lengths = read_json_file(place / kLengthFile);
  const JsonFields prompt_fields(prompts, prompt_file);
  const JsonFields length_fields(lengths, (place / kLengthFile).string());
  LongbenchPrompts all;
  for (const LongbenchItem& item : data.items) {
    const std::string name(item.dataset->name);
    if (all.contains(name)) continue;
    LongbenchPrompt& prompt = all[name];
    prompt.text = prompt_fields.string(name.c_str());
    prompt.max_tokens = length_fields.integer(name.c_str(), 1, 1 << 20);
    bool has_context = false;
    for_each_piece(prompt.text, fmt::format("{}: {}", prompt_file, name),
                   [&](std::string_view piece, bool is_field) {
                     has_context |= is_field && piece == "context";
                   });
    if (!has_context) {
      fail(ErrorCode::kData, "{}: the prompt of {} has no {{context}}", prompt_file, name);
    }
  }
  return all;
}

}  // namespace chunkllm
