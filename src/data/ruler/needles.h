// Needles: sentences that give values to keys, hidden at given depths of a text, and questions
// about them. The wording, and the numbers of keys and values, are those of RULER (arXiv
// 2404.06654).
#pragma once

#include <array>
#include <cstdint>
#include <string>
#include <vector>

#include "base/enum_names.h"
#include "base/random.h"
#include "data/tasks.h"

namespace chunkllm {

enum class NeedleKind {
  kSingle,      // one key with one value
  kMultiKey,    // the same among three other keys
  kMultiValue,  // all four values of one key
  kMultiQuery,  // the values of four keys
};
template <>
inline constexpr auto kEnumNames<NeedleKind> =
    std::to_array<EnumName<NeedleKind>>({{NeedleKind::kSingle, "single"},
                                         {NeedleKind::kMultiKey, "multi-key"},
                                         {NeedleKind::kMultiValue, "multi-value"},
                                         {NeedleKind::kMultiQuery, "multi-query"}});

enum class NeedleValue { kNumbers, kWords, kUuids };
template <>
inline constexpr auto kEnumNames<NeedleValue> =
    std::to_array<EnumName<NeedleValue>>({{NeedleValue::kNumbers, "numbers"},
                                          {NeedleValue::kWords, "words"},
                                          {NeedleValue::kUuids, "uuids"}});

// A key or value that is not in `taken`, which takes it in.
std::string make_needle_value(Rng& rng, NeedleValue kind, TakenNames& taken);

// What stands in the text.
std::string needle_sentence(NeedleValue kind, std::string_view key, std::string_view value);

// "numbers", or "number" of one.
std::string needle_noun(NeedleValue kind, bool is_one);

// "a", "a, and b", "a, b, and c".
std::string list_of_keys(const std::vector<std::string>& keys);

// Asks for `n_values` values of these keys in all.
std::string needle_question(NeedleValue kind, const std::vector<std::string>& keys,
                            size_t n_values);

// What one question is about. The needle that is asked for lies at the depth; others, and those of
// questions with several answers, lie anywhere.
struct NeedlePlan {
  NeedleKind kind = NeedleKind::kSingle;
  NeedleValue value = NeedleValue::kNumbers;
  int64_t depth_percent = 0;

  bool has_depth() const { return kind == NeedleKind::kSingle || kind == NeedleKind::kMultiKey; }
};

// `n` plans, of which this is the first of sample `sample`: kinds take turns, those of a kind go
// through all depths, and then all values, and samples go on where the one before ended.
std::vector<NeedlePlan> plan_needles(const std::vector<NeedleKind>& kinds,
                                     const std::vector<NeedleValue>& values,
                                     const std::vector<int64_t>& depths, int64_t sample, int64_t n);

// A document of `text` with the needles of all plans, and a question each.
TaskDocument hide_needle_plans(Rng& rng, std::string_view text,
                               const std::vector<NeedlePlan>& plans);

}  // namespace chunkllm
