// What choices of chunks capture of the model's own attention, measured in a dense pass.
#pragma once

#include <array>
#include <cstdint>
#include <map>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/enum_names.h"
#include "eval/attention/mass_pass.h"
#include "eval/task.h"
#include "select/chunk/adapter.h"
#include "select/chunk/chunk_index.h"
#include "select/keys/key_index.h"

namespace chunkllm {

// Where attention is looked at.
enum class RecallPlace { kPromptEnd, kBoundary, kRandom };
inline constexpr size_t kRecallPlaces = 3;
template <>
inline constexpr auto kEnumNames<RecallPlace> =
    std::to_array<EnumName<RecallPlace>>({{RecallPlace::kPromptEnd, "prompt ends"},
                                          {RecallPlace::kBoundary, "boundaries"},
                                          {RecallPlace::kRandom, "random tokens"}});

// What chooses.
enum class RecallMethod { kChunk, kMeanKey, kQuest, kRecent, kRandom };
inline constexpr size_t kRecallMethods = 5;
template <>
inline constexpr auto kEnumNames<RecallMethod> =
    std::to_array<EnumName<RecallMethod>>({{RecallMethod::kChunk, "chunk"},
                                           {RecallMethod::kMeanKey, "meankey"},
                                           {RecallMethod::kQuest, "quest"},
                                           {RecallMethod::kRecent, "recent"},
                                           {RecallMethod::kRandom, "random"}});

// How many of the teacher's greatest chunks are looked for.
inline constexpr int64_t kRecallK = 8;

// What stands in names for the best choice, that by the teacher's own masses.
inline constexpr std::string_view kOracle = "oracle";

// The names of series (docs/eval.md). `by` is a method or kOracle.
std::string captured_name(std::string_view budget, RecallPlace place, std::string_view by);
std::string recall_name(RecallPlace place, RecallMethod method);

// What recall is measured with.
struct RecallOptions {
  std::vector<double> budgets = {0.1};  // shares of the eligible tokens
  int64_t sink = 4;
  int64_t window = 64;
  uint64_t seed = 0;  // of random choices
};

// Measures the choices of one sequence at the positions of `queries`. The teacher of a boundary is
// the mean over its chunk's tokens, which attend by it in a prompt; of all others their own
// attention.
class RecallListener : public MassListener {
 public:
  // A token that is looked at.
  struct Query {
    int64_t position = 0;
    RecallPlace place = RecallPlace::kRandom;
  };
  // What one layer looks at.
  struct Track {
    ChunkTrack chunks;
    std::vector<Query> queries;  // ascending, one a position
  };

  // `first` is the first layer's where that has chunks of its own. `adapter` may be null. All must
  // outlive it.
  RecallListener(const ModelConfig& model, const Adapter* adapter, const Track& others,
                 const Track* first, const RecallOptions& options);

  const ChunkTrack* track_of(int64_t layer) const override;
  int64_t kept_from(int64_t layer, int64_t end) const override;
  void block_done(const LayerInput& input, const MassRows& rows) override;

  // By the names of docs/eval.md; `budget_names` has one a budget.
  std::map<std::string, LayerValues> values(const std::vector<std::string>& budget_names) const;

 private:
  // Sums over queries.
  struct Sums {
    std::vector<Measure> captured;  // [n_budgets], beside the oracle's
    Measure recall;
  };
  struct PlaceSums {
    std::array<Sums, kRecallMethods> methods;
    std::vector<Measure> oracle;  // [n_budgets], beside all mass on eligible chunks
  };
  struct LayerState {
    const Track* track = nullptr;
    ChunkTrack chunks = {};                // with the queries as refreshes
    std::optional<ChunkIndex> index = {};  // of the adapter, where the layer has one
    std::optional<KeyIndex> mean_keys = {};
    std::optional<KeyIndex> bounds = {};
    std::array<PlaceSums, kRecallPlaces> sums = {};
  };
  struct Figures;
  void extend(const LayerInput& input, LayerState& state);
  void score(const LayerInput& input, const LayerState& state, Range queries,
             std::span<const Range> eligible, Range chunks);
  Figures measure(int64_t layer, const MassRows& rows, int64_t query, Range eligible,
                  int64_t at) const;
  void add(const Figures& figures, PlaceSums& sums) const;

  const Adapter* adapter_;
  RecallOptions options_;
  std::vector<LayerState> layers_;  // [n_layers]
  KeyScorer scorer_;
  std::array<std::vector<float>, kRecallMethods> scores_;           // [queries, chunks]
  std::vector<float> keys_, distances_, of_heads_, tokens_, work_;  // scratch
};

}  // namespace chunkllm
