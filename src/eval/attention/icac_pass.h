// How consistent attention is inside chunks, measured in a dense pass (docs/eval.md, "icac").
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

namespace chunkllm {

// Whose attention is compared.
enum class TokenPairs { kOneChunk, kNeighbours, kFixed };
inline constexpr size_t kTokenPairs = 3;
template <>
inline constexpr auto kEnumNames<TokenPairs> =
    std::to_array<EnumName<TokenPairs>>({{TokenPairs::kOneChunk, "one chunk"},
                                         {TokenPairs::kNeighbours, "neighbouring chunks"},
                                         {TokenPairs::kFixed, "fixed chunks"}});

// Whose selection a token attends by.
enum class SelectedBy { kOwnEnd, kPreviousEnd };
inline constexpr size_t kSelectedBy = 2;
template <>
inline constexpr auto kEnumNames<SelectedBy> = std::to_array<EnumName<SelectedBy>>(
    {{SelectedBy::kOwnEnd, "own end"}, {SelectedBy::kPreviousEnd, "previous end"}});

// How many of the greatest chunks of two tokens are compared.
inline constexpr int64_t kIcacK = 8;

// The names of series (docs/eval.md).
std::string correlation_name(TokenPairs pairs);
std::string overlap_name(TokenPairs pairs);
std::string captured_name(std::string_view budget, SelectedBy by);
std::string each_token_name(std::string_view budget);  // of all mass, where each token selects

struct IcacOptions {
  std::vector<double> budgets = {0.1};  // shares of the eligible tokens
  int64_t sink = 4;
  int64_t window = 64;
};

// Compares the tokens of one sequence. All layers that do not slide look at the same chunks, and
// the tokens of a chunk at those that are eligible at its begin.
class IcacListener : public MassListener {
 public:
  // `chunks` must outlive it.
  IcacListener(const ModelConfig& model, const ChunkTrack& chunks, const IcacOptions& options);

  const ChunkTrack* track_of(int64_t layer) const override;
  int64_t kept_from(int64_t layer, int64_t end) const override;
  void block_done(const LayerInput& input, const MassRows& rows) override;

  // By name; `budget_names` has one a budget.
  std::map<std::string, LayerValues> values(const std::vector<std::string>& budget_names) const;
  // Tokens of a fixed chunk: the mean of the others.
  int64_t fixed_tokens() const { return fixed_tokens_; }

 private:
  struct Pairs {
    Measure correlation, overlap;  // means over chunks, or neighbours
  };
  struct Budget {
    std::array<Measure, kSelectedBy> captured;  // beside what each token's own selection does
    Measure each;                               // that, beside all mass
  };
  // Sums, of a chunk or of a layer.
  struct Figures {
    std::array<Pairs, kTokenPairs> pairs;
    std::vector<Budget> budgets;
    void add(const Figures& other);
  };
  Range eligible_at(int64_t begin) const;
  Figures look_at_chunk(const MassRows& rows, int64_t chunk) const;
  void select(const MassRows& rows, Range tokens, Range eligible, Figures& figures) const;
  Figures look_at_fixed(const MassRows& rows, Range tokens) const;

  const ChunkTrack& chunks_;
  IcacOptions options_;
  int64_t fixed_tokens_;
  std::vector<uint8_t> looks_at_;  // [n_layers], 0 for layers that slide
  std::vector<Figures> layers_;    // [n_layers]
};

}  // namespace chunkllm
