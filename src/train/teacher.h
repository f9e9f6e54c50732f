// The dense pass that makes lessons: inputs and attention of every layer that selects.
#pragma once

#include <array>
#include <cstdint>
#include <span>
#include <vector>

#include "model/transformer.h"
#include "select/chunk/adapter.h"
#include "select/chunk/chunk_track.h"
#include "select/chunk/key_inputs.h"
#include "select/teacher/chunk_mass.h"
#include "train/lesson.h"

namespace chunkllm {

// Attends to everything and collects a lesson: run one sequence through it from position 0, in
// blocks of any size. Attention is summed inside chunks tile by tile; no row of n probabilities is
// kept.
class TeacherPass : public RowSelector {
 public:
  // Chunks and refreshes of the first layer (null: it does not select) and of the others.
  struct Tracks {
    const ChunkTrack* first_layer = nullptr;
    const ChunkTrack* others = nullptr;
  };
  // All must outlive the pass.
  TeacherPass(const ModelConfig& model, const AdapterConfig& config,
              const TrainingSequence& sequence, const Tracks& tracks);

  void begin_block(Range positions, std::span<const int32_t> tokens) override;
  std::span<const AttentionSpan> rows(const LayerInput& input) override;
  void attention_done(const LayerInput& input, const float* log_sum_exp) override;
  bool wants_log_sum_exp() const override { return true; }
  void layer_done(int64_t layer, Range positions, const float* hidden) override;

  // What was collected; call once, after the last block.
  Lesson finish();

 private:
  // Sums of squares of rows [d_model] over the tokens after the sink.
  struct Squares {
    std::vector<double> sums;
    int64_t n_tokens = 0;
    void add(Range positions, int64_t sink, const float* rows);
    std::vector<float> means() const;
  };
  struct LayerState {
    const ChunkTrack* track = nullptr;
    KeyInputs key_inputs;
    std::vector<float> means = {};                          // [n_chunks, d_model]
    std::vector<std::array<Range, kMassKinds>> spans = {};  // [n_queries], tokens averaged over
    std::vector<size_t> offsets = {};                       // [n_queries], into the masses
    std::array<std::vector<float>, kMassKinds> masses = {};
    Squares squares = {};
  };
  void plan_layer(LayerState& state, LayerLesson& lesson) const;
  void collect_inputs(const LayerInput& input, LayerState& state, LayerLesson& lesson) const;
  void collect_masses(const LayerInput& input, const float* log_sum_exp, LayerState& state,
                      const LayerLesson& lesson);

  const ModelConfig& model_;
  const AdapterConfig& config_;
  const TrainingSequence& sequence_;
  FullRows full_;
  std::vector<LayerState> states_;   // [n_layers]
  std::vector<LayerLesson> layers_;  // [n_layers]
  Squares first_output_;
  BlockMasses block_masses_;
};

}  // namespace chunkllm
