// What the makers of structured text share: items that follow each other, and what may be asked.
#pragma once

#include <optional>
#include <string>
#include <string_view>

#include "data/facts.h"
#include "data/tasks.h"

namespace chunkllm {

// A piece of a block, and the question that it answers, if it does.
struct BlockItem {
  std::string text;
  std::optional<TaskQuestion> question;
};

// Joins items to a block and chooses `n_questions` of their questions, in random order.
TaskDocument join_items(Rng& rng, std::string_view head, const std::vector<BlockItem>& items,
                        std::string_view tail, int64_t n_questions);

template <typename T, size_t n>
const T& pick_of(Rng& rng, const T (&list)[n]) {
  return list[rng.below(static_cast<int64_t>(n))];
}

// One of the wordings of `forms`.
template <size_t n, size_t m>
std::string_view pick_form(Rng& rng, Forms forms, const std::string_view (&training)[n],
                           const std::string_view (&held_out)[m]) {
  return forms == Forms::kTraining ? pick_of(rng, training) : pick_of(rng, held_out);
}

// The form with {a}, {k} and {v} filled in.
std::string fill_form(std::string_view form, std::string_view a, std::string_view k,
                      std::string_view v);

// A value by a rule of make_value() that is not in `taken`, which takes it in.
std::string make_new_value(Rng& rng, std::string_view rule, TakenNames& taken);

// Sentences of made-up prose, each on one line and without quotation marks.
std::vector<std::string> make_sentences(Rng& rng, int64_t n_bytes);

// The makers behind make_block().
TaskDocument make_json_block(Rng& rng, Forms forms, int64_t n_bytes, int64_t n_questions);
TaskDocument make_code_block(Rng& rng, Forms forms, int64_t n_bytes, int64_t n_questions);
TaskDocument make_table_block(Rng& rng, Forms forms, int64_t n_bytes, int64_t n_questions);
TaskDocument make_dialogue_block(Rng& rng, Forms forms, int64_t n_bytes, int64_t n_questions);

}  // namespace chunkllm
