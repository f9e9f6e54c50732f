// Retrieval from long texts by rules, as RULER defines it (Hsieh et al., arXiv 2404.06654): its
// tasks, the makers of their texts, its metrics. The wordings, counts and answer lengths are
// RULER's; docs/eval.md says what differs. Beside them stand pairs in JSON (Liu et al., "Lost in
// the Middle", arXiv 2307.03172).
#pragma once

#include <array>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "base/enum_names.h"
#include "base/random.h"
#include "data/ruler/needles.h"

namespace chunkllm {

enum class RetrievalTask {
  kJson,
  kVariables,
  kCommonWords,
  kFrequentWords,
  kNiahSingle1,
  kNiahSingle2,
  kNiahSingle3,
  kNiahMultikey1,
  kNiahMultikey2,
  kNiahMultikey3,
  kNiahMultivalue,
  kNiahMultiquery,
  kQa1,
  kQa2,
};
template <>
inline constexpr auto kEnumNames<RetrievalTask> =
    std::to_array<EnumName<RetrievalTask>>({{RetrievalTask::kJson, "json"},
                                            {RetrievalTask::kVariables, "vt"},
                                            {RetrievalTask::kCommonWords, "cwe"},
                                            {RetrievalTask::kFrequentWords, "fwe"},
                                            {RetrievalTask::kNiahSingle1, "niah_single_1"},
                                            {RetrievalTask::kNiahSingle2, "niah_single_2"},
                                            {RetrievalTask::kNiahSingle3, "niah_single_3"},
                                            {RetrievalTask::kNiahMultikey1, "niah_multikey_1"},
                                            {RetrievalTask::kNiahMultikey2, "niah_multikey_2"},
                                            {RetrievalTask::kNiahMultikey3, "niah_multikey_3"},
                                            {RetrievalTask::kNiahMultivalue, "niah_multivalue"},
                                            {RetrievalTask::kNiahMultiquery, "niah_multiquery"},
                                            {RetrievalTask::kQa1, "qa_1"},
                                            {RetrievalTask::kQa2, "qa_2"}});

// How the answers of tasks whose names begin alike are taken.
struct RetrievalFamily {
  std::string_view begin = {};  // of the names
  int64_t answer_tokens = 0;    // most tokens of an answer
  bool one_is_enough = false;   // of the expected texts
  // What the first words of the answer begin with, where they follow the question.
  std::string_view answer_mark = {};
};

// The family of a task's name; one without a name for those that are none of these.
const RetrievalFamily& retrieval_family(std::string_view task);

// The share of `expected` that stand in the answer, upper and lower case being the same, or, where
// one is enough, whether any does: RULER's string_match_all and string_match_part. Empty texts
// stand nowhere; 0 if nothing is expected.
double retrieval_score(const RetrievalFamily& family, std::string_view answer,
                       const std::vector<std::string>& expected);

// What follows the text, the first words of the answer, and what the rest of it should hold.
struct RetrievalQuestion {
  std::string question;
  std::string answer_begin;
  std::vector<std::string> expected;
};

// A text and questions about it, each of which follows it without anything between.
struct RulerText {
  std::string text;
  std::vector<RetrievalQuestion> questions;
};

// The makers. `n_bytes` is about the size of what surrounds the answers; where it is too small for
// the task the text has what the task needs.

// One of RULER's eight needle tasks. `passage` is the essay of those that hide needles in one,
// valid UTF-8; its white space becomes single blanks. Throws Error (kInvalidArgument) for a task
// that hides none.
RulerText make_needle_text(Rng& rng, RetrievalTask task, std::string_view passage, int64_t n_bytes);
// Whether that task hides its needles in an essay.
bool hides_in_essay(RetrievalTask task);

// RULER's variable tracking: a chain of `n_hops` assignments after the first, in noise, which an
// example of the same with its answer precedes; of `n_chains` chains the first is asked for.
RulerText make_variable_text(Rng& rng, int64_t n_chains, int64_t n_hops, int64_t n_bytes);

// A numbered list in which 10 words stand more often than the others, with an example before it;
// the counts are RULER's for contexts of `ctx` tokens.
RulerText make_common_words_text(Rng& rng, int64_t ctx, int64_t n_bytes);

// Coded words, of which the k-th is the share k^-2 / zeta(2) of all, the first being dots; RULER's
// number of different words for contexts of `ctx` tokens.
RulerText make_frequent_words_text(Rng& rng, int64_t ctx, int64_t n_bytes);

// A JSON object with pairs of this kind and questions for different values of it, spread over the
// object. Keys are words, or UUIDs beside UUIDs.
struct JsonPairs {
  NeedleValue values = NeedleValue::kUuids;
  int64_t n_questions = 1;  // at most; of fewer pairs each is asked for
  int64_t n_pairs = 0;      // 0: as many as make `n_bytes`; else they stand inside `passage`
};
RulerText make_json_text(Rng& rng, const JsonPairs& pairs, std::string_view passage,
                         int64_t n_bytes);

// `k` different numbers below `n`, ascending. `k` is at most `n`.
std::vector<int64_t> draw_places(Rng& rng, int64_t n, int64_t k);

}  // namespace chunkllm
