// Questions about documents, among others that distract: RULER's qa_1 and qa_2, from the files of
// SQuAD and HotpotQA.
#pragma once

#include <cstdint>
#include <filesystem>
#include <string>
#include <vector>

#include "data/ruler/ruler.h"

namespace chunkllm {

struct QaQuestion {
  std::string question;
  std::vector<std::string> answers;    // each of which is right
  std::vector<size_t> documents = {};  // that hold the answer, indices into the set's
  size_t article = 0;                  // whose other documents distract first; of SQuAD
};

struct QaSet {
  RetrievalTask task = RetrievalTask::kQa1;  // kQa1 of SQuAD, kQa2 of HotpotQA
  std::vector<std::string> documents = {};   // each once
  std::vector<std::vector<size_t>> articles = {};
  std::vector<QaQuestion> questions = {};
  std::string digest = {};  // SHA-256 of the file
};

// Reads SQuAD's {"data": [{"paragraphs": [{"context", "qas": [{"question", "answers": [{"text"}],
// "is_impossible"}]}]}]}, whose impossible questions are left out, or HotpotQA's [{"question",
// "answer", "context": [[TITLE, [SENTENCE, ...]], ...]}]. Throws Error: kIo; kData naming file and
// entry for what has neither form, and for a file without questions.
QaSet read_qa_set(const std::filesystem::path& file);

// A random question of the set and its documents among others in random order: those of its article
// before those of the whole set, about `n_bytes` in all, or all that there are.
RulerText make_qa_text(Rng& rng, const QaSet& set, int64_t n_bytes);

}  // namespace chunkllm
