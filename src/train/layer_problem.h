// One layer's lesson of one sequence, unpacked for the loss.
#pragma once

#include <array>
#include <cstdint>
#include <span>
#include <vector>

#include "base/enum_names.h"
#include "select/chunk/adapter.h"
#include "train/lesson.h"
#include "train/losses.h"

namespace chunkllm {

// Whose attention teaches a boundary. Prompt ends learn from `own` and `next` where it is `both` or
// `all`; tokens of answers and random ones from their own always.
enum class TeacherTarget {
  kOwn,
  kNext,
  kChunk,
  kBoth,  // own and next, half and half
  kAll,   // own, next and chunk, a third each
};
template <>
inline constexpr auto kEnumNames<TeacherTarget> =
    std::to_array<EnumName<TeacherTarget>>({{TeacherTarget::kOwn, "own"},
                                            {TeacherTarget::kNext, "next"},
                                            {TeacherTarget::kChunk, "chunk"},
                                            {TeacherTarget::kBoth, "both"},
                                            {TeacherTarget::kAll, "all"}});

// What is left to the fit: one lesson serves all of these.
struct LessonReading {
  TeacherTarget target = TeacherTarget::kChunk;
  ChunkKey key = ChunkKey::kMean;
  bool distance_term = true;
  // Of prompt ends and of the tokens of answers, beside other queries with the same mass.
  float prompt_end_weight = 10.0f;
  float answer_weight = 3.0f;
};

// Float32 arrays of one lesson; the memory is kept from one to the next.
class LayerProblem {
 public:
  // Features are multiplied by `scale` [d_model]; each query weighs as much as the teacher's mass
  // on its eligible chunks, times prompt_end_weight for prompt ends and answer_weight in answers.
  // Throws Error (kData) if boundary keys are wanted and a chunk's end is no query.
  void unpack(const LayerLessonView& lesson, const LessonReading& reading,
              std::span<const float> scale);

  int64_t n_queries() const { return static_cast<int64_t>(weights_.size()); }
  int64_t n_chunks() const { return n_chunks_; }
  const float* query_inputs() const { return query_inputs_.data(); }  // [n_queries, d_model]
  const float* key_inputs() const { return key_inputs_.data(); }      // [n_chunks, d_model]
  const float* teacher() const { return teacher_.data(); }  // [n_queries, n_chunks], where eligible
  std::span<const Range> eligible() const { return eligible_; }
  std::span<const float> weights() const { return weights_; }
  std::span<const int64_t> positions() const { return positions_; }
  std::span<const int64_t> chunk_ends() const { return chunk_ends_; }
  std::span<const float> log_tokens() const { return log_tokens_; }  // of the chunks
  // By distance in tokens; empty without a distance term.
  std::span<const float> distance_features() const { return distance_features_; }

 private:
  int64_t n_chunks_ = 0;
  std::span<const Range> eligible_;
  std::span<const int64_t> positions_, chunk_ends_;
  std::vector<float> distance_features_;  // kept from one lesson to the next
  std::vector<float> query_inputs_, key_inputs_, teacher_, weights_, log_tokens_;
};

}  // namespace chunkllm
