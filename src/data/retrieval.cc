#include "data/retrieval.h"

#include <algorithm>
#include <array>
#include <utility>

#include "data/block_items.h"
#include "data/task_blocks.h"
#include "text/boundary_ends.h"

namespace chunkllm {
namespace {

constexpr TaskKind kBlockKinds[] = {TaskKind::kJson, TaskKind::kCode, TaskKind::kTable,
                                    TaskKind::kDialogue};
// As often as they stand here.
constexpr TaskKind kSentenceKinds[] = {
    TaskKind::kNumber,     TaskKind::kNumber,     TaskKind::kNumber,   TaskKind::kWord,
    TaskKind::kWord,       TaskKind::kSentence,   TaskKind::kMultiKey, TaskKind::kMultiValue,
    TaskKind::kMultiValue, TaskKind::kMultiValue, TaskKind::kVariables};

// Tasks with at least 3 to 10 needles, and with more for so many questions.
std::vector<Task> draw_tasks(Rng& rng, int64_t n_questions) {
  const int64_t n_facts = 3 + rng.below(8);
  constexpr int64_t kManyNeedles = 96;
  std::vector<Task> tasks;
  TakenNames taken;
  for (int64_t n = 0; n < n_facts || (std::ssize(tasks) < n_questions && n < kManyNeedles);) {
    tasks.push_back(make_task(rng, pick_of(rng, kSentenceKinds), Forms::kTraining, taken));
    n += std::ssize(tasks.back().needles);
  }
  return tasks;
}

// The needles of all tasks: tasks take turns at random, each in its own order.
std::vector<std::string> needles_of(Rng& rng, const std::vector<Task>& tasks) {
  std::vector<size_t> owners;
  for (size_t i = 0; i < tasks.size(); ++i) owners.insert(owners.end(), tasks[i].needles.size(), i);
  shuffle(rng, owners);
  std::vector<size_t> n_taken(tasks.size(), 0);
  std::vector<std::string> needles;
  for (const size_t owner : owners) needles.push_back(tasks[owner].needles[n_taken[owner]++]);
  return needles;
}

void append(LabeledText& text, const LabeledText& more) {
  const int64_t at = std::ssize(text.text);
  text.text += more.text;
  for (const int64_t end : more.ends) text.ends.push_back(at + end);
}

// A paragraph of its own after what there is.
void append_paragraph(LabeledText& text, const LabeledText& more) {
  if (!text.text.empty()) text.text += text.text.ends_with('\n') ? "\n" : "\n\n";
  append(text, more);
}

// The part of a text up to `at`, which is one of its ends, or the rest of it.
LabeledText part_before(const LabeledText& text, int64_t at) {
  LabeledText part{text.text.substr(0, static_cast<size_t>(at)), {}};
  std::ranges::copy_if(text.ends, std::back_inserter(part.ends),
                       [at](int64_t end) { return end <= at; });
  return part;
}
LabeledText part_after(const LabeledText& text, int64_t at) {
  const size_t begin =
      std::min(text.text.find_first_not_of("\n", static_cast<size_t>(at)), text.text.size());
  LabeledText part{text.text.substr(begin), {}};
  for (const int64_t end : text.ends) {
    if (end > static_cast<int64_t>(begin)) part.ends.push_back(end - static_cast<int64_t>(begin));
  }
  return part;
}

// Puts `block` between two paragraphs of `text`, or at its end.
LabeledText insert_block(Rng& rng, const LabeledText& text, const LabeledText& block) {
  std::vector<int64_t> places;
  for (const int64_t end : text.ends) {
    const std::string_view after = std::string_view(text.text).substr(static_cast<size_t>(end));
    const bool after_line = text.text[static_cast<size_t>(end) - 1] == '\n';
    if (after.empty() || after.starts_with("\n\n") || (after_line && after.starts_with('\n'))) {
      places.push_back(end);
    }
  }
  if (places.empty()) places.push_back(std::ssize(text.text));
  const int64_t at = places[static_cast<size_t>(rng.below(std::ssize(places)))];
  LabeledText whole = part_before(text, at);
  append_paragraph(whole, block);
  const LabeledText rest = part_after(text, at);
  if (!rest.text.empty()) append_paragraph(whole, rest);
  return whole;
}

// Takes away white space at the end: templates do, too.
void trim_end(LabeledText& text) {
  text.text.resize(text.text.find_last_not_of(" \t\r\n") + 1);
  const int64_t size = std::ssize(text.text);
  std::erase_if(text.ends, [size](int64_t end) { return end >= size; });
  if (size > 0) text.ends.push_back(size);
}

}  // namespace

LabeledText hide_needles(Rng& rng, const LabeledText& text,
                         const std::vector<std::string>& needles) {
  std::vector<int64_t> places = sentence_places(text.text);
  const bool as_lines = places.size() < needles.size();
  if (as_lines) {
    places.clear();
    for (const int64_t end : text.ends) {
      if (text.text[static_cast<size_t>(end) - 1] == '\n') places.push_back(end);
    }
  }
  if (places.empty()) places.push_back(std::ssize(text.text));
  std::vector<int64_t> chosen;
  for (size_t i = 0; i < needles.size(); ++i) {
    chosen.push_back(places[static_cast<size_t>(rng.below(std::ssize(places)))]);
  }
  std::ranges::sort(chosen);

  LabeledText hidden;
  std::vector<int64_t> ends;
  int64_t copied = 0;
  size_t next_end = 0;
  const auto copy_to = [&](int64_t at) {
    const int64_t shift = std::ssize(hidden.text) - copied;
    for (; next_end < text.ends.size() && text.ends[next_end] <= at; ++next_end) {
      ends.push_back(text.ends[next_end] + shift);
    }
    hidden.text += text.text.substr(static_cast<size_t>(copied), static_cast<size_t>(at - copied));
    copied = at;
  };
  for (size_t i = 0; i < needles.size(); ++i) {
    copy_to(chosen[i]);
    const bool own_line = hidden.text.ends_with('\n');
    if (!hidden.text.empty()) ends.push_back(std::ssize(hidden.text));
    if (!hidden.text.empty() && !own_line) hidden.text += ' ';
    hidden.text += needles[i];
    ends.push_back(std::ssize(hidden.text));
    if (own_line) {
      hidden.text += '\n';
      ends.push_back(std::ssize(hidden.text));
    }
  }
  copy_to(std::ssize(text.text));
  std::ranges::sort(ends);
  ends.erase(std::unique(ends.begin(), ends.end()), ends.end());
  hidden.ends = std::move(ends);
  return hidden;
}

RetrievalText make_retrieval_text(Rng& rng, int64_t n_bytes, int64_t n_questions,
                                  const DrawText& draw) {
  RetrievalText made;
  const int64_t shape = rng.below(100);
  const bool has_text = shape < 70;
  const int64_t n_blocks = shape < 40 ? 0 : 1 + rng.below(has_text ? 2 : 3);
  // Blocks share up to half of a document that has text as well.
  const int64_t block_bytes = has_text ? n_bytes * (10 + rng.below(40)) / 100 : n_bytes;
  std::vector<LabeledText> blocks;
  int64_t drawn = 0;
  for (int64_t i = 0; i < n_blocks; ++i) {
    const int64_t asked = has_text ? 1 + rng.below(4) : (n_questions + n_blocks - 1) / n_blocks;
    TaskDocument block =
        make_block(rng, pick_of(rng, kBlockKinds), Forms::kTraining, block_bytes / n_blocks, asked);
    std::vector<int64_t> ends = boundary_ends(block.text);
    drawn += std::ssize(block.text);
    blocks.push_back({std::move(block.text), std::move(ends)});
    for (TaskQuestion& question : block.questions) made.questions.push_back(std::move(question));
  }
  if (has_text) {
    const std::vector<Task> tasks = draw_tasks(rng, n_questions);
    const LabeledText text = draw(rng, std::max(n_bytes - drawn, n_bytes / 4));
    made.document = hide_needles(rng, text, needles_of(rng, tasks));
    for (const Task& task : tasks) made.questions.push_back(task.question);
    for (const LabeledText& block : blocks) {
      made.document = insert_block(rng, made.document, block);
    }
  } else {
    for (const LabeledText& block : blocks) append_paragraph(made.document, block);
  }
  trim_end(made.document);
  shuffle(rng, made.questions);
  if (std::ssize(made.questions) > n_questions) {
    made.questions.resize(static_cast<size_t>(n_questions));
  }
  return made;
}

}  // namespace chunkllm
