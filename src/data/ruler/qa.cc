#include "data/ruler/qa.h"

#include <algorithm>
#include <map>
#include <span>

#include "base/error.h"
#include "base/json.h"
#include "base/mapped_file.h"
#include "base/sha256.h"
#include "text/utf8.h"

namespace chunkllm {
namespace {

using nlohmann::json;

constexpr std::string_view kInstruction =
    "Answer the question based on the given documents. Only give me the answer and do not output "
    "any other words.";

// Gives each document a number, the same text the same one.
class DocumentList {
 public:
  explicit DocumentList(std::vector<std::string>& documents) : documents_(documents) {}

  size_t add(const std::string& text) {
    const auto [place, is_new] = numbers_.emplace(text, documents_.size());
    if (is_new) documents_.push_back(text);
    return place->second;
  }

 private:
  std::vector<std::string>& documents_;
  std::map<std::string, size_t> numbers_;
};

const json& array_of(const JsonFields& fields, const char* name, const std::string& where) {
  const json& value = fields.at(name);
  if (!value.is_array()) fail(ErrorCode::kData, "{}: \"{}\" must be an array", where, name);
  return value;
}

void read_squad_question(const json& entry, const std::string& where, size_t document,
                         size_t article, QaSet& set) {
  const JsonFields fields(entry, where);
  if (fields.boolean_or("is_impossible", false)) return;
  QaQuestion question{.question = fields.string("question"),
                      .answers = {},
                      .documents = {document},
                      .article = article};
  for (const json& answer : array_of(fields, "answers", where)) {
    std::string text = JsonFields(answer, where).string("text");
    if (!text.empty()) question.answers.push_back(std::move(text));
  }
  if (question.answers.empty()) {
    fail(ErrorCode::kData, "{}: there is no answer; give one, or say \"is_impossible\": true",
         where);
  }
  set.questions.push_back(std::move(question));
}

void read_squad(const json& data, const std::string& file, QaSet& set) {
  DocumentList documents(set.documents);
  for (size_t a = 0; a < data.size(); ++a) {
    const std::string in_data = fmt::format("{}, data {}", file, a);
    set.articles.emplace_back();
    const json& paragraphs = array_of(JsonFields(data[a], in_data), "paragraphs", in_data);
    for (size_t p = 0; p < paragraphs.size(); ++p) {
      const std::string in_paragraph = fmt::format("{}, paragraph {}", in_data, p);
      const JsonFields fields(paragraphs[p], in_paragraph);
      const size_t document = documents.add(fields.string("context"));
      std::vector<size_t>& article = set.articles.back();
      if (std::ranges::find(article, document) == article.end()) article.push_back(document);
      const json& questions = array_of(fields, "qas", in_paragraph);
      for (size_t q = 0; q < questions.size(); ++q) {
        read_squad_question(questions[q], fmt::format("{}, question {}", in_paragraph, q), document,
                            a, set);
      }
    }
  }
}

// A document of HotpotQA: its title and, on the next line, its sentences.
std::string to_document(const json& entry, const std::string& where) {
  const bool is_pair = entry.is_array() && entry.size() == 2 && entry[0].is_string() &&
                       entry[1].is_array() &&
                       std::ranges::all_of(entry[1], [](const json& s) { return s.is_string(); });
  if (!is_pair) {
    fail(ErrorCode::kData, "{}: \"context\" must have pairs of a title and its sentences", where);
  }
  std::string text = entry[0].get<std::string>() + "\n";
  for (const json& sentence : entry[1]) text += sentence.get<std::string>();
  return text;
}

void read_hotpot(const json& data, const std::string& file, QaSet& set) {
  DocumentList documents(set.documents);
  set.articles.emplace_back();  // nothing distracts first
  for (size_t i = 0; i < data.size(); ++i) {
    const std::string where = fmt::format("{}, question {}", file, i);
    const JsonFields fields(data[i], where);
    QaQuestion question{.question = fields.string("question"), .answers = {}};
    question.answers.push_back(fields.string("answer"));
    if (question.answers[0].empty()) fail(ErrorCode::kData, "{}: the answer is empty", where);
    for (const json& entry : array_of(fields, "context", where)) {
      question.documents.push_back(documents.add(to_document(entry, where)));
    }
    if (question.documents.empty()) fail(ErrorCode::kData, "{}: \"context\" is empty", where);
    set.questions.push_back(std::move(question));
  }
}

}  // namespace

QaSet read_qa_set(const std::filesystem::path& file) {
  const MappedFile mapped(file);
  const std::string_view content = without_byte_order_mark(
      {reinterpret_cast<const char*>(mapped.bytes().data()), mapped.bytes().size()});
  const json data = parse_json(content, file.string());
  QaSet set;
  if (data.is_object() && data.contains("data") && data["data"].is_array()) {
    set.task = RetrievalTask::kQa1;
    read_squad(data["data"], file.string(), set);
  } else if (data.is_array()) {
    set.task = RetrievalTask::kQa2;
    read_hotpot(data, file.string(), set);
  } else {
    fail(ErrorCode::kData,
         "{} has neither SQuAD's form, an object with \"data\", nor HotpotQA's, an array of "
         "questions",
         file.string());
  }
  if (set.questions.empty()) fail(ErrorCode::kData, "{} holds no questions", file.string());
  Sha256 hash;
  hash.update(std::as_bytes(mapped.bytes()));
  set.digest = hash.hex_digest();
  return set;
}

RulerText make_qa_text(Rng& rng, const QaSet& set, int64_t n_bytes) {
  const QaQuestion& question =
      set.questions[static_cast<size_t>(rng.below(std::ssize(set.questions)))];
  std::vector<size_t> chosen = question.documents;
  std::vector<bool> is_chosen(set.documents.size(), false);
  int64_t size_bytes = 0;
  for (const size_t document : chosen) {
    is_chosen[document] = true;
    size_bytes += std::ssize(set.documents[document]);
  }
  const auto add_others = [&](std::vector<size_t> others) {
    shuffle(rng, others);
    for (const size_t document : others) {
      if (size_bytes >= n_bytes) return;
      if (is_chosen[document]) continue;
      is_chosen[document] = true;
      chosen.push_back(document);
      size_bytes += std::ssize(set.documents[document]);
    }
  };
  add_others(set.articles[question.article]);
  std::vector<size_t> all(set.documents.size());
  for (size_t i = 0; i < all.size(); ++i) all[i] = i;
  add_others(std::move(all));
  shuffle(rng, chosen);
  RulerText text;
  text.text = fmt::format("{}\n\nThe following are given documents.\n\n", kInstruction);
  for (size_t i = 0; i < chosen.size(); ++i) {
    text.text += fmt::format("Document {}:\n{}\n\n", i + 1, set.documents[chosen[i]]);
  }
  text.text += kInstruction;
  text.questions.push_back(
      {fmt::format("\n\nQuestion: {}", question.question), " Answer:", question.answers});
  return text;
}

}  // namespace chunkllm
