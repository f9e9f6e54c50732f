#include "select/chunk/span_plan.h"

#include <algorithm>

namespace chunkllm {
namespace {

class Planner {
 public:
  Planner(const ChunkTrack& track, std::vector<PlannedSpan>& plan) : track_(track), plan_(plan) {}

  void everything(Range queries) {
    if (!queries.empty()) plan_.push_back({.queries = queries, .of_prompt = true});
  }

  // Each token by the refresh at or before it. In a prompt the local range begins no earlier than
  // `prompt_begin` allows.
  void by_last_refresh(Range queries, int64_t prompt_begin, bool prefill_budget, bool of_prompt) {
    const auto n_refreshes = static_cast<int64_t>(track_.refreshes.size());
    int64_t next = track_.refreshes_in(queries).begin;
    for (int64_t begin = queries.begin; begin < queries.end;) {
      if (next < n_refreshes && position_of(next) == begin) ++next;
      const int64_t end =
          next < n_refreshes ? std::min(position_of(next), queries.end) : queries.end;
      const int64_t from = next > 0 ? std::max(position_of(next - 1) + 1, prompt_begin) : 0;
      plan_.push_back({{begin, end}, next - 1, from, prefill_budget, of_prompt});
      begin = end;
    }
  }

  // Each token by the closing refresh at or after it, as far as there are some in the prompt.
  void by_own_end(Range queries, Range prompt) {
    int64_t begin = queries.begin;
    int64_t next = track_.refreshes_in({begin, prompt.end}).begin;
    while (begin < queries.end) {
      next = next_closing(next, prompt.end);
      if (next < 0) break;
      const int64_t end = std::min(position_of(next) + 1, queries.end);
      plan_.push_back({{begin, end}, next, begin_of_run(next, prompt.begin), true, true});
      begin = end;
      ++next;
    }
    by_last_refresh({begin, queries.end}, prompt.begin, true, true);
  }

 private:
  int64_t position_of(int64_t refresh) const {
    return track_.refreshes[static_cast<size_t>(refresh)];
  }
  bool closes(int64_t refresh) const { return track_.closing[static_cast<size_t>(refresh)] != 0; }

  // The first closing refresh from number `refresh` on that lies before `end`; -1 without one.
  int64_t next_closing(int64_t refresh, int64_t end) const {
    const auto n = static_cast<int64_t>(track_.refreshes.size());
    for (; refresh < n && position_of(refresh) < end; ++refresh) {
      if (closes(refresh)) return refresh;
    }
    return -1;
  }

  // Where the run of tokens begins that a refresh closes, not before the prompt.
  int64_t begin_of_run(int64_t refresh, int64_t prompt_begin) const {
    int64_t i = refresh - 1;
    while (i >= 0 && position_of(i) >= prompt_begin && !closes(i)) --i;
    return i >= 0 ? std::max(position_of(i) + 1, prompt_begin) : prompt_begin;
  }

  const ChunkTrack& track_;
  std::vector<PlannedSpan>& plan_;
};

}  // namespace

std::vector<PlannedSpan> plan_spans(const ChunkTrack& track, const PromptSpans& prompts,
                                    Range positions, PrefillSelection selection) {
  std::vector<PlannedSpan> plan;
  Planner planner(track, plan);
  for (int64_t t = positions.begin; t < positions.end;) {
    const PromptSpan* prompt = prompts.find(t);
    if (prompt == nullptr) {
      const int64_t end = prompts.next_begin(t, positions.end);
      planner.by_last_refresh({t, end}, 0, false, false);
      t = end;
      continue;
    }
    const int64_t end = std::min(prompt->positions.end, positions.end);
    const Range everything = prompts.everything_in(*prompt);
    const Range body{t, std::min(everything.begin, end)};
    if (selection == PrefillSelection::kOwn) {
      planner.by_own_end(body, prompt->positions);
    } else {
      planner.by_last_refresh(body, prompt->positions.begin, true, true);
    }
    planner.everything({std::max(t, everything.begin), std::min(everything.end, end)});
    planner.by_last_refresh({std::max(t, everything.end), end}, 0, false, true);
    t = end;
  }
  return plan;
}

}  // namespace chunkllm
