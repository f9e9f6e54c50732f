#include "data/block_items.h"

#include <algorithm>
#include <utility>

#include "base/error.h"
#include "data/synthetic.h"
#include "data/task_blocks.h"
#include "text/sentences.h"

namespace chunkllm {

TaskDocument join_items(Rng& rng, std::string_view head, const std::vector<BlockItem>& items,
                        std::string_view tail, int64_t n_questions) {
  TaskDocument document;
  document.text = head;
  std::vector<Range> places;
  std::vector<size_t> asking;
  for (size_t i = 0; i < items.size(); ++i) {
    const int64_t begin = std::ssize(document.text);
    document.text += items[i].text;
    places.push_back({begin, std::ssize(document.text)});
    if (items[i].question) asking.push_back(i);
  }
  document.text += tail;
  const auto n = std::min<int64_t>(n_questions, std::ssize(asking));
  for (int64_t i = 0; i < n; ++i) {
    const int64_t other = i + rng.below(std::ssize(asking) - i);
    std::swap(asking[static_cast<size_t>(i)], asking[static_cast<size_t>(other)]);
    const size_t chosen = asking[static_cast<size_t>(i)];
    document.questions.push_back(*items[chosen].question);
    document.hidden.push_back(places[chosen]);
  }
  std::ranges::sort(document.hidden, {}, &Range::begin);
  return document;
}

std::string fill_form(std::string_view form, std::string_view a, std::string_view k,
                      std::string_view v) {
  std::string text;
  for (size_t i = 0; i < form.size(); ++i) {
    if (form[i] == '{' && i + 2 < form.size() && form[i + 2] == '}') {
      text += form[i + 1] == 'a' ? a : form[i + 1] == 'k' ? k : v;
      i += 2;
    } else {
      text += form[i];
    }
  }
  return text;
}

std::string make_new_value(Rng& rng, std::string_view rule, TakenNames& taken) {
  constexpr int kTries = 1000;  // then a number makes it new
  std::string value = make_value(rng, rule);
  for (int i = 0; i < kTries && taken.contains(value); ++i) value = make_value(rng, rule);
  while (taken.contains(value)) value += " " + make_value(rng, "number5");
  taken.insert(value);
  return value;
}

std::vector<std::string> make_sentences(Rng& rng, int64_t n_bytes) {
  const std::string text = make_text(rng, std::max<int64_t>(n_bytes, 2000));
  std::vector<std::string> sentences;
  int64_t begin = 0;
  for (const int64_t end : sentence_ends(text)) {
    std::string sentence =
        text.substr(static_cast<size_t>(begin), static_cast<size_t>(end - begin));
    begin = end;
    sentence.erase(0, std::min(sentence.find_first_not_of(" \n"), sentence.size()));
    const bool is_plain = sentence.find_first_of("\"\n") == std::string::npos &&
                          sentence.find("“") == std::string::npos &&
                          sentence.find("”") == std::string::npos;
    const bool is_whole = sentence.size() > 8 && sentence[0] >= 'A' && sentence[0] <= 'Z' &&
                          std::string_view(".!?").find(sentence.back()) != std::string_view::npos;
    if (is_plain && is_whole) sentences.push_back(std::move(sentence));
  }
  if (sentences.empty()) sentences.emplace_back("Nobody knew.");
  return sentences;
}

TaskDocument make_block(Rng& rng, TaskKind kind, Forms forms, int64_t n_bytes,
                        int64_t n_questions) {
  switch (kind) {
    case TaskKind::kJson:
      return make_json_block(rng, forms, n_bytes, n_questions);
    case TaskKind::kCode:
      return make_code_block(rng, forms, n_bytes, n_questions);
    case TaskKind::kTable:
      return make_table_block(rng, forms, n_bytes, n_questions);
    case TaskKind::kDialogue:
      return make_dialogue_block(rng, forms, n_bytes, n_questions);
    case TaskKind::kNumber:
    case TaskKind::kWord:
    case TaskKind::kSentence:
    case TaskKind::kMultiKey:
    case TaskKind::kMultiValue:
    case TaskKind::kVariables:
      break;
  }
  fail(ErrorCode::kInvalidArgument, "there is no structured text of the task '{}'",
       enum_name(kind));
}

}  // namespace chunkllm
