// The lines of L-Eval (arXiv 2307.11088): documents with questions, and the words they are asked
// with.
#pragma once

#include <cstdint>
#include <filesystem>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "eval/benchmarks/leval_answers.h"

namespace chunkllm {

// A task: a file of this name.
struct LevalTask {
  std::string_view name = {};
  LevalKind kind = LevalKind::kText;
  int64_t max_tokens = 0;        // of an answer
  std::string_view system = {};  // what the model is told before

  bool is_closed() const { return kind != LevalKind::kText; }
};

// The closed ones first.
std::span<const LevalTask> leval_tasks();

struct LevalQuestion {
  std::string instruction;
  std::string expected;  // as the line has it
  std::string counts;    // leval_expected() of it
};

struct LevalDocument {
  const LevalTask* task = nullptr;
  std::string text = {};
  bool by_rouge = false;                      // an open task that L-Eval scores by ROUGE, not F1
  std::vector<LevalQuestion> questions = {};  // one at least
  std::string where = {};                     // file and line, for messages
};

struct LevalData {
  std::vector<LevalDocument> documents;
  int64_t n_judged = 0;  // documents left out: people or a model judge their answers
};

// Reads files whole, and of folders the files of `tasks`, by default those of closed tasks. Lines
// in a row with the same text, as gsm100 has them, are one document of at most ten questions. At
// most `n_samples` documents of a task, 0: all. Throws Error: kInvalidArgument for a name that is
// no task or has no file; kIo; kData naming file and line for a field that is missing or of another
// kind, or an expected answer that has nothing to compare.
LevalData read_leval(const std::vector<std::filesystem::path>& paths,
                     const std::vector<std::string>& tasks, int64_t n_samples);

// What the user says: the text and a question, in L-Eval's words.
std::string leval_user_text(const LevalDocument& document, std::string_view text,
                            const LevalQuestion& question);

}  // namespace chunkllm
