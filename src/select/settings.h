// How a policy selects: the choices a user has at run time.
#pragma once

#include <cstdint>
#include <optional>
#include <string_view>

namespace chunkllm {

enum class PolicyKind { kFull, kChunk };

enum class RefreshKind {
  kPromptEnd,  // at boundaries and at prompt ends
  kBoundary,   // at boundaries only, as the paper has it
  kEvery,      // every N tokens, and at prompt ends
};

enum class PrefillKind {
  kChunk,  // prompt tokens attend to selections as generated ones do
  kFull,   // prompt tokens before their prompt end attend to everything
};

// Tokens attended at a refresh, sink and local range included.
struct KvBudget {
  int64_t n_tokens = 2048;              // where `fraction` is not set
  std::optional<double> fraction;       // of the tokens so far, 1.0 being everything
  std::optional<int64_t> min_tokens;    // of a fraction; default: least_tokens()
  std::optional<int64_t> top_k_chunks;  // instead of a number of tokens

  // The least tokens of a fraction: min_tokens, or else max(256, sink + window + 2 max_chunk).
  int64_t least_tokens(int64_t sink, int64_t window, int64_t max_chunk) const;

  // "2048", "0.1" or "1.0": with a point it is a fraction. Throws Error (kInvalidArgument).
  static KvBudget parse(std::string_view text);
};

struct SelectionSettings {
  KvBudget budget;
  std::optional<int64_t> window;  // tokens; default: the adapter's
  std::optional<int64_t> sink;    // tokens; default: the adapter's
  RefreshKind refresh = RefreshKind::kPromptEnd;
  int64_t refresh_every = 0;  // tokens, for RefreshKind::kEvery
  PrefillKind prefill = PrefillKind::kChunk;
};

}  // namespace chunkllm
