#include "data/tasks.h"

#include <fmt/core.h>

#include <algorithm>
#include <span>
#include <utility>

#include "base/error.h"
#include "data/block_items.h"
#include "data/facts.h"
#include "data/task_forms.h"
#include "text/utf8.h"

namespace chunkllm {
namespace {

using namespace task_forms;

template <typename T>
const T& pick(Rng& rng, std::span<const T> list) {
  return list[static_cast<size_t>(rng.below(std::ssize(list)))];
}

std::string make_variable(Rng& rng) {
  std::string name;
  for (int i = 0; i < 3; ++i) name += static_cast<char>('A' + rng.below(26));
  return name + static_cast<char>('1' + rng.below(9));
}

// A name that the document has not used yet.
std::string make_new(Rng& rng, std::string_view rule, TakenNames& taken) {
  if (rule != "variable") return make_new_value(rng, rule, taken);
  while (true) {
    std::string name = make_variable(rng);
    if (taken.insert(name).second) return name;
  }
}

// "a", "a and b", "a, b and c".
std::string join(const std::vector<std::string>& values) {
  std::string list;
  for (size_t i = 0; i < values.size(); ++i) {
    if (i > 0) list += i + 1 == values.size() ? " and " : ", ";
    list += values[i];
  }
  return list;
}

// One family's wordings for one task.
struct Wording {
  const FactFamily& family;
  const TaskForms& forms;
  std::string_view attribute;
  std::string_view needle;

  Wording(Rng& rng, std::span<const FactFamily> families, Forms which)
      : family(pick(rng, families)),
        forms(which == Forms::kTraining ? family.training : family.held_out),
        attribute(pick(rng, forms.attributes)),
        needle(pick(rng, forms.needles)) {}

  TaskQuestion ask(Rng& rng, TaskKind kind, std::string_view key,
                   std::vector<std::string> values) const {
    const std::string list = join(values);
    return {kind, fill_form(pick(rng, forms.questions), attribute, key, list),
            fill_form(pick(rng, forms.answers), attribute, key, list), std::move(values)};
  }
};

// One fact that is asked for, among `n_others` that differ by key and value alone.
Task one_of_facts(Rng& rng, TaskKind kind, std::span<const FactFamily> families, Forms which,
                  int64_t n_others, TakenNames& taken) {
  const Wording wording(rng, families, which);
  Task task;
  const int64_t asked = rng.below(n_others + 1);
  for (int64_t i = 0; i <= n_others; ++i) {
    const std::string key = make_new(rng, wording.family.key_rule, taken);
    std::string value = make_new(rng, wording.family.value_rule, taken);
    task.needles.push_back(fill_form(wording.needle, wording.attribute, key, value));
    if (i == asked) task.question = wording.ask(rng, kind, key, {std::move(value)});
  }
  return task;
}

Task multi_value(Rng& rng, Forms which, TakenNames& taken) {
  const Wording wording(rng, kMultiValueFamilies, which);
  const std::string key = make_new(rng, wording.family.key_rule, taken);
  // Held out: always four, so that trials compare.
  const int64_t n = which == Forms::kTraining ? 2 + rng.below(4) : 4;
  const int64_t n_others = which == Forms::kTraining ? rng.below(3) : 2;
  Task task;
  std::vector<std::string> values;
  int64_t n_other = 0;
  while (std::ssize(values) < n || n_other < n_others) {
    const bool other =
        rng.below(n + n_others) < n_others ? n_other < n_others : std::ssize(values) == n;
    const std::string value = make_new(rng, wording.family.value_rule, taken);
    task.needles.push_back(fill_form(wording.needle, wording.attribute,
                                     other ? make_new(rng, wording.family.key_rule, taken) : key,
                                     value));
    if (other) {
      ++n_other;
    } else {
      values.push_back(value);
    }
  }
  task.question = wording.ask(rng, TaskKind::kMultiValue, key, std::move(values));
  return task;
}

Task variables(Rng& rng, Forms which, TakenNames& taken) {
  const Wording wording(rng, {&kVariableFamily, 1}, which);
  struct Chain {
    std::string number;
    std::vector<std::string> names;
    int64_t length = 0;
  };
  std::vector<Chain> chains;
  const int64_t n_chains = which == Forms::kTraining ? 1 + rng.below(3) : 2;
  int64_t left = 0;
  for (int64_t i = 0; i < n_chains; ++i) {
    const int64_t length = which == Forms::kTraining ? 2 + rng.below(3) : 3;
    chains.push_back({make_new(rng, wording.family.value_rule, taken), {}, length});
    left += length;
  }
  Task task;
  for (; left > 0; --left) {
    int64_t at = rng.below(left);  // chains go on in turns, as their lengths allow
    auto chain = chains.begin();
    for (; at >= chain->length - std::ssize(chain->names); ++chain) {
      at -= chain->length - std::ssize(chain->names);
    }
    const std::string name = make_new(rng, wording.family.key_rule, taken);
    const std::string& from = chain->names.empty() ? chain->number : chain->names.back();
    task.needles.push_back(fill_form(wording.needle, {}, name, from));
    chain->names.push_back(name);
  }
  const Chain& asked = pick(rng, std::span<const Chain>(chains));
  task.question = wording.ask(rng, TaskKind::kVariables, asked.number, asked.names);
  return task;
}

bool is_word_byte(char c) {
  return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') ||
         (static_cast<unsigned char>(c) & 0x80u) != 0;
}

bool holds_words(std::string_view text, std::string_view words) {
  for (size_t at = text.find(words); at != std::string_view::npos; at = text.find(words, at + 1)) {
    const size_t end = at + words.size();
    const bool begins = at == 0 || !is_word_byte(text[at - 1]);
    if (begins && (end == text.size() || !is_word_byte(text[end]))) return true;
  }
  return false;
}

}  // namespace

Task make_task(Rng& rng, TaskKind kind, Forms forms, TakenNames& taken) {
  switch (kind) {
    case TaskKind::kNumber:
      return one_of_facts(rng, kind, kNumberFamilies, forms, 0, taken);
    case TaskKind::kWord:
      return one_of_facts(rng, kind, kWordFamilies, forms, 0, taken);
    case TaskKind::kSentence:
      return one_of_facts(rng, kind, kSentenceFamilies, forms, 0, taken);
    case TaskKind::kMultiKey:
      return one_of_facts(rng, kind, kNumberFamilies, forms,
                          forms == Forms::kTraining ? 2 + rng.below(6) : 5, taken);
    case TaskKind::kMultiValue:
      return multi_value(rng, forms, taken);
    case TaskKind::kVariables:
      return variables(rng, forms, taken);
    case TaskKind::kJson:
    case TaskKind::kCode:
    case TaskKind::kTable:
    case TaskKind::kDialogue:
      break;
  }
  fail(ErrorCode::kInvalidArgument, "facts of the task '{}' are no sentences", enum_name(kind));
}

TaskDocument hide_tasks(Rng& rng, std::string_view text, const std::vector<Task>& tasks) {
  // Which task each place in the text belongs to.
  std::vector<size_t> owners;
  for (size_t i = 0; i < tasks.size(); ++i) owners.insert(owners.end(), tasks[i].needles.size(), i);
  shuffle(rng, owners);
  std::vector<size_t> n_hidden(tasks.size(), 0);
  std::vector<std::string> facts;
  for (const size_t owner : owners) facts.push_back(tasks[owner].needles[n_hidden[owner]++]);
  TaskDocument document;
  std::vector<int64_t> offsets;
  document.text = hide_facts(text, facts, rng, &offsets);
  for (size_t i = 0; i < facts.size(); ++i) {
    document.hidden.push_back({offsets[i], offsets[i] + std::ssize(facts[i])});
  }
  for (const Task& task : tasks) document.questions.push_back(task.question);
  return document;
}

double answer_score(std::string_view answer, const std::vector<std::string>& expected) {
  if (expected.empty()) return 0;
  const std::string text = lower_case(answer);
  int64_t n_found = 0;
  for (const std::string& value : expected) {
    if (!value.empty() && holds_words(text, lower_case(value))) ++n_found;
  }
  return static_cast<double>(n_found) / static_cast<double>(expected.size());
}

}  // namespace chunkllm
