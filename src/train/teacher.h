// What the frozen backbone teaches: inputs and attention of every layer in one dense pass.
#pragma once

#include <array>
#include <cstdint>
#include <span>
#include <vector>

#include "base/enum_names.h"
#include "model/transformer.h"
#include "select/chunk/adapter.h"
#include "select/chunk/key_inputs.h"
#include "select/chunk/selection.h"
#include "train/data/sequences.h"

namespace chunkllm {

// Over which tokens a query's teacher attention is averaged.
enum class TeacherTarget { kOwn, kNext, kBoth };
template <>
inline constexpr auto kEnumNames<TeacherTarget> = std::to_array<EnumName<TeacherTarget>>(
    {{TeacherTarget::kOwn, "own"}, {TeacherTarget::kNext, "next"}, {TeacherTarget::kBoth, "both"}});

// What one layer's QK Adapter learns from one sequence.
struct LayerLesson {
  std::vector<int64_t> positions;  // of the queries, ascending
  std::vector<Range> eligible;     // [n_queries], chunk indices
  std::vector<float> weights;      // [n_queries]
  std::vector<uint8_t>
      refreshes;  // [n_queries], 0 for random tokens, which select at inference never
  std::vector<float> query_inputs;  // [n_queries, d_model], x at the queries
  std::vector<float>
      key_inputs;              // [n_chunks, d_model], x at the boundary, or its mean over the chunk
  std::vector<float> teacher;  // [n_queries, n_chunks], attention mass, sink removed
  int64_t n_chunks = 0;

  int64_t n_queries() const { return static_cast<int64_t>(positions.size()); }
};

struct TeacherOptions {
  TeacherTarget target = TeacherTarget::kBoth;
  float prompt_end_weight =
      1.0f;  // of prompt ends in the loss; boundaries and random tokens have 1
};

// Attends to everything and collects lessons: run one sequence through it from position 0, in
// blocks of any size. Attention is summed inside chunks tile by tile; no row of n probabilities is
// kept.
class TeacherPass : public RowSelector {
 public:
  // `sequence` and `tracks` (that of the first layer and that of the others) must outlive the pass.
  struct Tracks {
    const ChunkTrack* first_layer = nullptr;  // null: it does not select
    const ChunkTrack* others = nullptr;
  };
  TeacherPass(const ModelConfig& model, const AdapterConfig& config,
              const TrainingSequence& sequence, const Tracks& tracks,
              const TeacherOptions& options);

  void begin_block(Range positions, std::span<const int32_t> tokens) override;
  std::span<const AttentionSpan> rows(const LayerInput& input) override;
  void attention_done(const LayerInput& input, const float* log_sum_exp) override;
  bool wants_log_sum_exp() const override { return true; }

  // [n_layers]; a layer that does not select has no queries.
  const std::vector<LayerLesson>& lessons() const { return lessons_; }

 private:
  struct LayerState {
    const ChunkTrack* track = nullptr;
    KeyInputs key_inputs;
    std::vector<int64_t> span_ends = {};  // [n_queries], where the tokens of the selection end
  };
  void plan_layer(const TrainingSequence& sequence, const TeacherOptions& options,
                  LayerState& state, LayerLesson& lesson) const;
  void collect_inputs(const LayerInput& input, LayerState& state, LayerLesson& lesson) const;
  void collect_masses(const LayerInput& input, const float* log_sum_exp, const LayerState& state,
                      LayerLesson& lesson);

  const ModelConfig& model_;
  const AdapterConfig& config_;
  TeacherTarget target_;
  FullRows full_;
  std::vector<LayerState> states_;
  std::vector<LayerLesson> lessons_;
  std::vector<float> q_, log_sum_exp_, mass_;  // scratch of one block
};

}  // namespace chunkllm
