// What the frozen backbone teaches about one sequence, as the adapters' fit needs it: one dense
// pass made once, learned from as often as wanted.
#pragma once

#include <array>
#include <cstdint>
#include <span>
#include <vector>

#include "base/bf16.h"
#include "base/range.h"
#include "train/sequences.h"

namespace chunkllm {

// What a query is; of those that are several, the last. A token of an answer selects for itself
// alone.
enum class QueryKind : uint8_t { kRandom, kBoundary, kAnswer, kPromptEnd };

// Over which tokens a query's attention is averaged.
enum class MassOf {
  kOwn,    // the query's own token
  kNext,   // from the query up to, not including, the next boundary or prompt end
  kChunk,  // the chunk that ends at the query; of a query that ends none, its own token
};
inline constexpr size_t kMassKinds = 3;

// One layer's part. Queries and chunks are in the order of their positions; x is the layer's
// normalised input.
struct LayerLesson {
  std::vector<int64_t> positions;   // [n_queries]
  std::vector<QueryKind> kinds;     // [n_queries]
  std::vector<Range> eligible;      // [n_queries], chunk indices
  std::vector<int64_t> chunk_ends;  // [n_chunks], one past each chunk's last token, a query
  std::vector<Bf16> query_inputs;   // [n_queries, d_model], x at the queries
  std::vector<Bf16> mean_inputs;  // [n_chunks, d_model], mean of x over each chunk, after the sink
  std::vector<float> mean_squares;  // [d_model], of x over the tokens after the sink
  // Of each query in turn the attention mass of its eligible chunks, mean over heads, sink removed;
  // by MassOf.
  std::array<std::vector<Bf16>, kMassKinds> masses;
};

// The same, read where it lies: spans of a LayerLesson or of a mapped file.
struct LayerLessonView {
  std::span<const int64_t> positions;
  std::span<const QueryKind> kinds;
  std::span<const Range> eligible;
  std::span<const int64_t> chunk_ends;
  std::span<const Bf16> query_inputs;
  std::span<const Bf16> mean_inputs;
  std::span<const float> mean_squares;
  std::array<std::span<const Bf16>, kMassKinds> masses;

  LayerLessonView() = default;
  LayerLessonView(const LayerLesson& lesson);  // NOLINT(google-explicit-constructor): a view

  int64_t n_queries() const { return static_cast<int64_t>(positions.size()); }
  int64_t n_chunks() const { return static_cast<int64_t>(chunk_ends.size()); }
  int64_t d_model() const { return static_cast<int64_t>(mean_squares.size()); }
  // Tokens of a chunk.
  int64_t chunk_tokens(int64_t j) const {
    const auto i = static_cast<size_t>(j);
    return chunk_ends[i] - (j == 0 ? 0 : chunk_ends[i - 1]);
  }
};

// All layers'; a layer that does not select has no queries.
struct Lesson {
  TrainingSequence sequence;
  std::vector<float>
      boundary_mean_squares;        // [d_model], of the first layer's output after the sink
  std::vector<LayerLesson> layers;  // [n_layers]
};

}  // namespace chunkllm
