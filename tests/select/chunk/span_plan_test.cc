// The plan is the definition, token by token, however the sequence is cut into blocks.
#include "select/chunk/span_plan.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <ostream>

#include "base/random.h"

namespace chunkllm {
namespace {

struct Sequence {
  ChunkTrack track;
  PromptSpans prompts{PrefillKind::kChunk, 0};
  int64_t n_tokens = 0;
};

Sequence random_sequence(Rng& rng) {
  Sequence s;
  const PrefillKind kind = rng.below(4) == 0 ? PrefillKind::kFull : PrefillKind::kChunk;
  s.prompts = PromptSpans(kind, rng.below(15));
  s.n_tokens = 1 + rng.below(200);
  for (int64_t begin = rng.below(8); begin < s.n_tokens;) {
    const int64_t end = std::min(s.n_tokens, begin + 1 + rng.below(80));
    const int64_t last = end - 1;
    s.prompts.add({begin, end}, {&last, rng.below(6) > 0 ? size_t{1} : size_t{0}});
    begin = end + rng.below(20);
  }
  for (int64_t t = 0; t < s.n_tokens; ++t) {
    const bool closes = rng.uniform() < 0.08;
    if (!closes && !s.prompts.is_end(t)) continue;
    s.track.refreshes.push_back(t);
    s.track.closing.push_back(closes ? 1 : 0);
  }
  return s;
}

// One token's row of the definition: refresh, begin of the local range's window, kind of budget.
struct Row {
  int64_t refresh = -1;
  int64_t local_from = 0;
  bool prefill_budget = false;
  friend bool operator==(const Row&, const Row&) = default;
  friend void PrintTo(const Row& row, std::ostream* out) {
    *out << row.refresh << " from " << row.local_from << (row.prefill_budget ? " prompt" : "");
  }
};

Row row_by_definition(const Sequence& s, int64_t t, PrefillSelection selection) {
  const auto& refreshes = s.track.refreshes;
  const auto at = [&](int64_t i) { return refreshes[static_cast<size_t>(i)]; };
  int64_t last = -1;
  while (last + 1 < std::ssize(refreshes) && at(last + 1) <= t) ++last;
  const PromptSpan* prompt = s.prompts.find(t);
  if (prompt == nullptr || s.prompts.is_end(t)) {
    return last < 0 ? Row{} : Row{last, at(last) + 1, false};
  }
  if (s.prompts.attends_to_everything(t)) return {};
  const auto [begin, end] = prompt->positions;
  int64_t run_begin = begin;
  for (int64_t i = 0; i < std::ssize(refreshes); ++i) {
    if (s.track.closing[static_cast<size_t>(i)] == 0) continue;
    if (at(i) < t) run_begin = std::max(begin, at(i) + 1);
    if (at(i) >= t && at(i) < end && selection == PrefillSelection::kOwn) {
      return {i, run_begin, true};
    }
  }
  return last < 0 ? Row{} : Row{last, std::max(at(last) + 1, begin), true};
}

std::vector<Row> rows_of(const std::vector<PlannedSpan>& plan, Range positions) {
  std::vector<Row> rows;
  int64_t next = positions.begin;
  for (const PlannedSpan& span : plan) {
    EXPECT_EQ(span.queries.begin, next);
    EXPECT_FALSE(span.queries.empty());
    next = span.queries.end;
    const Row row =
        span.everything() ? Row{} : Row{span.refresh, span.local_from, span.prefill_budget};
    rows.insert(rows.end(), static_cast<size_t>(span.queries.size()), row);
  }
  EXPECT_EQ(next, positions.end);
  return rows;
}

TEST(SpanPlan, IsTheDefinitionInAnyBlocks) {
  Rng rng(8);
  for (int trial = 0; trial < 300; ++trial) {
    const Sequence s = random_sequence(rng);
    for (const PrefillSelection selection : {PrefillSelection::kOwn, PrefillSelection::kPrevious}) {
      std::vector<Row> expected;
      for (int64_t t = 0; t < s.n_tokens; ++t) {
        expected.push_back(row_by_definition(s, t, selection));
      }
      std::vector<Row> rows;
      for (int64_t begin = 0; begin < s.n_tokens;) {
        const int64_t end = std::min(s.n_tokens, begin + 1 + rng.below(70));
        const Range block{begin, end};
        const auto part = rows_of(plan_spans(s.track, s.prompts, block, selection), block);
        rows.insert(rows.end(), part.begin(), part.end());
        begin = end;
      }
      ASSERT_EQ(rows, expected) << "trial " << trial;
      const Range all{0, s.n_tokens};
      ASSERT_EQ(rows_of(plan_spans(s.track, s.prompts, all, selection), all), expected);
    }
  }
}

TEST(SpanPlan, SaysWhoseTokensTheyAre) {
  Rng rng(9);
  for (int trial = 0; trial < 50; ++trial) {
    const Sequence s = random_sequence(rng);
    for (const PlannedSpan& span :
         plan_spans(s.track, s.prompts, {0, s.n_tokens}, PrefillSelection::kOwn)) {
      for (int64_t t = span.queries.begin; t < span.queries.end; ++t) {
        EXPECT_EQ(span.of_prompt, s.prompts.find(t) != nullptr) << t;
      }
    }
  }
}

}  // namespace
}  // namespace chunkllm
