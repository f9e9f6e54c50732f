#include "eval/benchmarks/leval_data.h"

#include <algorithm>
#include <limits>
#include <map>

#include "base/error.h"
#include "base/json.h"
#include "data/json_lines.h"
#include "eval/benchmarks/python_text.h"

namespace chunkllm {
namespace {

// L-Eval lets all answers have 512 tokens; those that need fewer are cut earlier here.
constexpr int64_t kShortAnswer = 64;
constexpr int64_t kLongAnswer = 512;
constexpr size_t kMostQuestions = 10;  // of lines put together

// The wording is the benchmark's (Baselines/LEval_config.py).
constexpr std::string_view kExam =
    "Now you are given a very long document. Please follow the instruction based on this document. "
    "For multi-choice questions, there is only a sinlge correct option. Please only provide the "
    "letter corresponding to the answer (like A or B) when answering. For other questions, please "
    "directly give the concise and accurate answer. ";
constexpr std::string_view kCoursera =
    "Now you are given a very long document. Please follow the instruction based on this document. "
    "For multi-choice questions, there could be a sinlge correct option or multiple correct "
    "options. Please only provide the letter corresponding to the answer (like A or AB) when "
    "answering. ";
constexpr std::string_view kGsm =
    "Given several question answer pairs, you need to follow a similar format to answer the last "
    "question. Make sure the response is end with The answer is _ . ";
constexpr std::string_view kTopics =
    "Below is a record of our previous conversation on many different topics. You are the "
    "ASSISTANT, and I am the USER. At the beginning of each topic, the USER will say 'I would like "
    "to discuss the topic of <TOPIC>'. Memorize each <TOPIC>. At the end of the record, I will ask "
    "you to retrieve the first/second/third topic names. Now the record start. ";
constexpr std::string_view kSciFi =
    "Now you are given a scientific fiction. I will ask you some questions and the answer should "
    "be \"True\" or \"False\". Notice that you should answer the question based on the evidence in "
    "the document instead of your background knowledge.";
constexpr std::string_view kOpen =
    "Now you are given a very long document. Please follow the instruction after this document. "
    "These instructions may include summarizing a document, answering questions based on the "
    "document, or writing a required paragraph. ";

constexpr LevalTask open_task(std::string_view name) {
  return {name, LevalKind::kText, kLongAnswer, kOpen};
}

constexpr LevalTask kTasks[] = {
    {"coursera", LevalKind::kLetters, kShortAnswer, kCoursera},
    {"quality", LevalKind::kLetter, kShortAnswer, kExam},
    {"tpo", LevalKind::kLetter, kShortAnswer, kExam},
    {"gsm100", LevalKind::kNumber, kLongAnswer, kGsm},
    {"topic_retrieval_longchat", LevalKind::kTopic, kShortAnswer, kTopics},
    {"sci_fi", LevalKind::kTruth, kShortAnswer, kSciFi},
    open_task("financial_qa"),
    open_task("gov_report_summ"),
    open_task("legal_contract_qa"),
    open_task("meeting_summ"),
    open_task("multidoc_qa"),
    open_task("narrative_qa"),
    open_task("natural_question"),
    open_task("news_summ"),
    open_task("paper_assistant"),
    open_task("patent_summ"),
    open_task("review_summ"),
    open_task("scientific_qa"),
    open_task("tv_show_summ"),
};

const LevalTask* find_task(std::string_view name) {
  const auto found = std::ranges::find(kTasks, name, &LevalTask::name);
  return found != std::end(kTasks) ? found : nullptr;
}

std::string task_names() {
  std::string names;
  for (const LevalTask& task : kTasks)
    names += (names.empty() ? "" : ", ") + std::string(task.name);
  return names;
}

// What an expected answer must have, for messages.
std::string_view needs_of(LevalKind kind) {
  switch (kind) {
    case LevalKind::kLetter:
    case LevalKind::kLetters:
      return "one of the letters A to D at its begin";
    case LevalKind::kNumber:
      return "a number";
    case LevalKind::kTruth:
      return "True or False";
    case LevalKind::kTopic:
    case LevalKind::kText:
      return "words";
  }
  return {};
}

// Whether L-Eval has a program judge such answers: "exam" of closed tasks, "f1" and "rouge".
bool is_scored(const LevalTask& task, const std::string& evaluation, const std::string& where) {
  constexpr std::string_view kJudged[] = {"human", "LLM"};
  if (task.is_closed() ? evaluation == "exam" : evaluation == "f1" || evaluation == "rouge") {
    return true;
  }
  if (std::ranges::find(kJudged, evaluation) != std::end(kJudged)) return false;
  fail(ErrorCode::kData, "{}: evaluation is {}; of {} it is {}, human or LLM", where,
       show_text(evaluation), task.name, task.is_closed() ? "exam" : "f1, rouge");
}

LevalDocument read_document(const nlohmann::json& record, const LevalTask& task,
                            const std::string& where) {
  const JsonFields fields(record, where);
  LevalDocument document{.task = &task, .text = fields.string("input"), .where = where};
  if (python_strip(document.text).empty()) {
    fail(ErrorCode::kData, "{}: input is empty; give the document", where);
  }
  document.by_rouge = fields.string("evaluation") == "rouge";
  const std::vector<std::string> instructions = read_texts(record, "instructions", where);
  const std::vector<std::string> outputs = read_texts(record, "outputs", where);
  if (instructions.size() != outputs.size()) {
    fail(ErrorCode::kData, "{}: {} instructions and {} outputs; give an output for each", where,
         instructions.size(), outputs.size());
  }
  for (size_t i = 0; i < outputs.size(); ++i) {
    LevalQuestion question{instructions[i], outputs[i], leval_expected(outputs[i], task.kind)};
    if (question.counts.empty()) {
      fail(ErrorCode::kData, "{}: output {} is {}; {} needs {}", where, i + 1,
           show_text(outputs[i]), task.name, needs_of(task.kind));
    }
    document.questions.push_back(std::move(question));
  }
  return document;
}

// Adds the documents of one file, of a task that has `n_left` places.
void read_file(const std::filesystem::path& file, const LevalTask& task, int64_t& n_left,
               LevalData& data) {
  bool is_first = true;
  for_each_json_line(file, [&](const nlohmann::json& record, const std::string& where) {
    if (!is_scored(task, JsonFields(record, where).string("evaluation"), where)) {
      ++data.n_judged;
      return;
    }
    LevalDocument document = read_document(record, task, where);
    if (!is_first) {
      LevalDocument& last = data.documents.back();
      const bool is_same = last.text == document.text && last.by_rouge == document.by_rouge;
      if (is_same && last.questions.size() + document.questions.size() <= kMostQuestions) {
        std::ranges::move(document.questions, std::back_inserter(last.questions));
        return;
      }
    }
    if (n_left == 0) return;
    --n_left;
    is_first = false;
    data.documents.push_back(std::move(document));
  });
}

}  // namespace

std::span<const LevalTask> leval_tasks() { return kTasks; }

LevalData read_leval(const std::vector<std::filesystem::path>& paths,
                     const std::vector<std::string>& tasks, int64_t n_samples) {
  for (const std::string& name : tasks) {
    if (find_task(name) == nullptr) {
      fail(ErrorCode::kInvalidArgument, "--tasks {}: L-Eval has no such task; name some of {}",
           show_text(name), task_names());
    }
  }
  LevalData data;
  std::map<const LevalTask*, int64_t> n_left;
  for (const std::filesystem::path& path : paths) {
    std::error_code error;
    const bool is_folder = std::filesystem::is_directory(path, error);
    for (const std::filesystem::path& file : json_line_files({path})) {
      const LevalTask* task = find_task(file.stem().string());
      const auto is_named = [&] { return std::ranges::find(tasks, task->name) != tasks.end(); };
      if (task == nullptr) {
        if (is_folder) continue;
        fail(ErrorCode::kInvalidArgument, "{} is named after no task of L-Eval; name it {}",
             file.string(), task_names());
      }
      if (tasks.empty() ? is_folder && !task->is_closed() : !is_named()) continue;
      n_left.try_emplace(task, n_samples > 0 ? n_samples : std::numeric_limits<int64_t>::max());
      read_file(file, *task, n_left[task], data);
    }
  }
  for (const std::string& name : tasks) {
    if (n_left.contains(find_task(name))) continue;
    fail(ErrorCode::kInvalidArgument, "--tasks {}: --data has no file {}.jsonl", name, name);
  }
  if (data.documents.empty()) {
    fail(ErrorCode::kData, "{} holds no documents of L-Eval that a program scores; {}",
         paths.front().string(),
         tasks.empty() ? "give its files, tpo.jsonl for example" : "name other --tasks");
  }
  return data;
}

std::string leval_user_text(const LevalDocument& document, std::string_view text,
                            const LevalQuestion& question) {
  switch (document.task->kind) {
    case LevalKind::kNumber:
    case LevalKind::kTopic:
      return fmt::format("{}\n\n{}", text, question.instruction);
    case LevalKind::kLetter:
    case LevalKind::kLetters:
    case LevalKind::kTruth:
      return fmt::format(
          "Document is as follows. {} Question: {} \nPlease directly give answer without any "
          "additional output or explanation\n Answer: ",
          text, question.instruction);
    case LevalKind::kText:
      return fmt::format(
          "Document is as follows. {} Instruction: {} \nAnswer this question with {} words.", text,
          question.instruction, python_split(question.expected).size());
  }
  return {};
}

}  // namespace chunkllm
