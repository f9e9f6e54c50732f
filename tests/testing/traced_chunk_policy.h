// Policies that choose chunks with their decisions written down or prescribed, so that two runs can
// be made to decide the same and their own wishes compared.
#pragma once

#include <algorithm>
#include <cmath>
#include <compare>
#include <cstdint>
#include <iterator>
#include <map>
#include <memory>
#include <string_view>
#include <vector>

#include "engine/session.h"
#include "select/chunk/chunk_policy.h"

namespace chunkllm::test {

// Which selection of a refresh: its position, whence its local range reaches back, and whether its
// budget is that of prompts.
struct ChoiceKey {
  int64_t position = 0;
  int64_t local_from = 0;
  bool prefill_budget = false;
  friend auto operator<=>(const ChoiceKey&, const ChoiceKey&) = default;
};

// Boundaries and choices. A plain value.
struct SelectionTrace {
  int64_t n_tokens = 0;             // positions below this are covered
  std::vector<int64_t> boundaries;  // positions where one is predicted, ascending
  std::map<int64_t, std::map<ChoiceKey, std::vector<int64_t>>> choices;  // layer: choice -> chunks

  bool is_boundary(int64_t position) const {
    return std::ranges::binary_search(boundaries, position);
  }
};

// How far a replayed run's own decisions were from those of the trace. A difference that rounding
// explains has a small gap.
struct TraceDifferences {
  int64_t n_boundaries = 0;         // decided otherwise
  int64_t n_choices = 0;            // decided otherwise
  double largest_boundary_gap = 0;  // |logit - threshold| of those
  double largest_score_gap = 0;     // |score - first refused score| of chunks in one choice only
};

// A policy made from ChunkedPolicy.
template <typename Policy>
class Traced : public Policy {
 public:
  using Policy::Policy;

  // Writes down every decision from now on; `trace` must outlive the policy.
  void record(SelectionTrace* trace) { record_ = trace; }
  // Decides as `trace` did wherever it covers the position, and counts in `differences` what would
  // have been decided otherwise. Both must outlive the policy.
  void replay(const SelectionTrace* trace, TraceDifferences* differences) {
    replay_ = trace;
    differences_ = differences;
  }

 protected:
  Selection choose(const typename Policy::Candidates& candidates) override {
    Selection selection = Policy::choose(candidates);
    const int64_t position = candidates.position;
    if (replay_ != nullptr && position < replay_->n_tokens) {
      if (const std::vector<int64_t>* chunks = replayed(candidates.layer, key_of(candidates))) {
        note_difference(selection, candidates, *chunks);
        selection = selection_of(candidates.track, position, candidates.limits, *chunks);
      }
    }
    if (record_ != nullptr) {
      record_->n_tokens = std::max(record_->n_tokens, position + 1);
      record_->choices[candidates.layer][key_of(candidates)] = selection.chunks;
    }
    return selection;
  }

  SelectionTrace* record_ = nullptr;
  const SelectionTrace* replay_ = nullptr;
  TraceDifferences* differences_ = nullptr;

 private:
  static ChoiceKey key_of(const typename Policy::Candidates& candidates) {
    return {candidates.position, candidates.limits.local_from.value_or(0),
            candidates.prefill_budget};
  }

  const std::vector<int64_t>* replayed(int64_t layer, const ChoiceKey& key) const {
    const auto choices = replay_->choices.find(layer);
    if (choices == replay_->choices.end()) return nullptr;
    const auto found = choices->second.find(key);
    return found == choices->second.end() ? nullptr : &found->second;
  }

  void note_difference(const Selection& own, const typename Policy::Candidates& candidates,
                       const std::vector<int64_t>& replayed) {
    if (own.chunks == replayed || candidates.scores.empty()) return;
    std::vector<int64_t> different;
    std::ranges::set_symmetric_difference(own.chunks, replayed, std::back_inserter(different));
    ++differences_->n_choices;
    for (const int64_t j : different) {
      const float score = candidates.scores[static_cast<size_t>(j - candidates.eligible.begin)];
      differences_->largest_score_gap = std::max(differences_->largest_score_gap,
                                                 std::abs(double{score} - own.first_refused_score));
    }
  }
};

// Its boundaries too.
class TracedChunkPolicy : public Traced<ChunkPolicy> {
 public:
  using Traced::Traced;

 protected:
  bool decide_boundary(int64_t position, float margin, bool own) override {
    bool decided = own;
    if (replay_ != nullptr && position < replay_->n_tokens) {
      decided = replay_->is_boundary(position);
      if (decided != own) {
        ++differences_->n_boundaries;
        differences_->largest_boundary_gap =
            std::max(differences_->largest_boundary_gap, std::abs(double{margin}));
      }
    }
    if (record_ != nullptr) {
      record_->n_tokens = position + 1;
      if (decided) record_->boundaries.push_back(position);
    }
    return decided;
  }
};

// The same options with a TracedChunkPolicy in place of `chunk` or `fixed`.
inline SessionOptions traced(SessionOptions options) {
  static std::map<std::string_view, PolicyEntry> entries;
  PolicyEntry& traced = entries.try_emplace(options.policy->name, *options.policy).first->second;
  traced.make = [](const PolicyInputs& inputs) -> std::unique_ptr<SelectionPolicy> {
    return std::make_unique<TracedChunkPolicy>(*inputs.adapter, inputs.settings, inputs.special_ids,
                                               inputs.token_marks);
  };
  options.policy = &traced;
  return options;
}

inline TracedChunkPolicy& trace_of(Session& session) {
  return dynamic_cast<TracedChunkPolicy&>(session.policy());
}

}  // namespace chunkllm::test
