// How a policy selects: the choices a user has at run time, each an entry of one table that the
// command line, its help and the head of a saved cache derive from.
#pragma once

#include <array>
#include <cstdint>
#include <nlohmann/json_fwd.hpp>
#include <optional>
#include <span>
#include <string>
#include <string_view>

#include "base/enum_names.h"

namespace chunkllm {

enum class RefreshKind {
  kAnswer,     // at boundaries, prompt ends and generated tokens
  kPromptEnd,  // at boundaries and at prompt ends
  kBoundary,   // at boundaries only, as the paper has it
  kEvery,      // every N tokens, and at prompt ends
};
template <>
inline constexpr auto kEnumNames<RefreshKind> =
    std::to_array<EnumName<RefreshKind>>({{RefreshKind::kAnswer, "answer"},
                                          {RefreshKind::kPromptEnd, "prompt-end"},
                                          {RefreshKind::kBoundary, "boundary"},
                                          {RefreshKind::kEvery, "every"}});

enum class PrefillKind {
  kChunk,  // prompt tokens attend to selections, by rules of their own
  kFull,   // prompt tokens before their prompt end attend to everything
};
template <>
inline constexpr auto kEnumNames<PrefillKind> = std::to_array<EnumName<PrefillKind>>(
    {{PrefillKind::kChunk, "chunk"}, {PrefillKind::kFull, "full"}});

// Which selection the tokens of a prompt's chunk attend by.
enum class PrefillSelection {
  kOwn,       // the one made at the chunk's own end
  kPrevious,  // the one made before, as generated tokens must
};
template <>
inline constexpr auto kEnumNames<PrefillSelection> = std::to_array<EnumName<PrefillSelection>>(
    {{PrefillSelection::kOwn, "own"}, {PrefillSelection::kPrevious, "previous"}});

// Tokens attended at a refresh, sink and local range included.
struct KvBudget {
  int64_t n_tokens = 2048;              // where `fraction` is not set
  std::optional<double> fraction;       // of the tokens so far, 1.0 being everything
  std::optional<int64_t> min_tokens;    // of a fraction; default: least_tokens()
  std::optional<int64_t> top_k_chunks;  // instead of a number of tokens

  // The least tokens of a fraction: min_tokens, or else max(256, sink + window + 2 max_chunk).
  int64_t least_tokens(int64_t sink, int64_t window, int64_t max_chunk) const;

  // Tokens attended at a refresh at `position`, 0 where chunks are counted; `least` is
  // least_tokens().
  int64_t tokens_at(int64_t position, int64_t least) const;

  // "2048", "0.1" or "1.0": with a point it is a fraction. Throws Error (kInvalidArgument) that
  // names the option.
  static KvBudget parse(std::string_view text, std::string_view option = "--kv-budget");
};

// The least tokens that a prompt is read with: at its begin a tenth of the past is nothing.
inline constexpr int64_t kPrefillFloor = 2048;

// What neither a user nor an adapter says otherwise, in tokens.
inline constexpr int64_t kDefaultSink = 4;
inline constexpr int64_t kDefaultWindow = 64;
inline constexpr int64_t kDefaultMinChunk = 8;
inline constexpr int64_t kDefaultMaxChunk = 128;

struct SelectionSettings {
  KvBudget budget;
  std::optional<int64_t> window;  // tokens; default: the adapter's
  std::optional<int64_t> sink;    // tokens; default: the adapter's
  RefreshKind refresh = RefreshKind::kAnswer;
  int64_t refresh_every = 0;  // tokens, for RefreshKind::kEvery
  PrefillKind prefill = PrefillKind::kChunk;
  std::optional<KvBudget> prefill_budget;  // of prompt tokens; default: `budget`
  int64_t prefill_floor = kPrefillFloor;
  int64_t prompt_tail = 64;  // tokens before a prompt end that attend to everything
  PrefillSelection prefill_selection = PrefillSelection::kOwn;
  std::optional<int64_t> min_chunk;  // tokens; default: the adapter's
  bool remainder = false;            // rows stand for chunks that are not chosen
  bool layer_budgets = false;        // one shared over layers as the adapter says
  bool lookup = true;                // answers prefer chunks that hold their last tokens

  // Tokens that those of a prompt attend to at a refresh at `position`: the most of both budgets
  // and the floor. `least` is that of a fraction.
  int64_t prefill_tokens_at(int64_t position, int64_t least) const;
};

enum class Setting {
  kKvBudget,
  kKvBudgetMin,
  kTopKChunks,
  kWindow,
  kSink,
  kRefresh,
  kPrefill,
  kPrefillBudget,
  kPromptTail,
  kPrefillSelection,
  kMinChunk,
  kRemainder,
  kLayerBudgets,
  kLookup,
};

struct SettingEntry {
  Setting setting;
  std::string_view flag;   // "--kv-budget"
  std::string_view value;  // "N|0.x"
  std::string_view help;   // one line, with the default
  // Takes what the user wrote. Throws Error (kInvalidArgument).
  void (*set)(SelectionSettings& settings, std::string_view text);
  // What is in force, as a saved cache has it; null where another setting takes its place.
  nlohmann::json (*get)(const SelectionSettings& settings);
};

// All settings, in the order of Setting and of the help.
std::span<const SettingEntry> setting_entries();

// settings_difference() (base/settings_difference.h) of all that a file depends on, those settings
// among it by their flags: they say nothing where anything else differs, and are said only where
// nothing does. `defaults` are those that nobody gave.
std::string difference_with_settings(const nlohmann::json& saved, const nlohmann::ordered_json& now,
                                     const SelectionSettings& defaults);

// Throws Error (kInvalidArgument) if settings that a user gave do not go together.
void check_settings(const SelectionSettings& settings, std::span<const Setting> given);

}  // namespace chunkllm
