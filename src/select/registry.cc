#include "select/registry.h"

#include <algorithm>

#include "base/error.h"
#include "select/chunk/chunk_policy.h"
#include "select/full.h"
#include "select/keys/mean_key_policy.h"
#include "select/keys/quest_policy.h"
#include "select/separator.h"
#include "select/streaming.h"
#include "select/teacher/oracle_policy.h"

namespace chunkllm {
namespace {

constexpr Setting kChunkSettings[] = {
    Setting::kKvBudget,         Setting::kKvBudgetMin,   Setting::kTopKChunks,
    Setting::kWindow,           Setting::kSink,          Setting::kRefresh,
    Setting::kPrefill,          Setting::kPrefillBudget, Setting::kPromptTail,
    Setting::kPrefillSelection, Setting::kMinChunk,      Setting::kRemainder,
    Setting::kLayerBudgets,     Setting::kLookup};

// The same without lookup: it chooses by what the model does.
constexpr auto kOracleSettings = std::span(kChunkSettings).first<std::size(kChunkSettings) - 1>();

constexpr Setting kQuestSettings[] = {
    Setting::kKvBudget, Setting::kKvBudgetMin,   Setting::kWindow,     Setting::kSink,
    Setting::kPrefill,  Setting::kPrefillBudget, Setting::kPromptTail, Setting::kRemainder};

constexpr Setting kSeparatorSettings[] = {Setting::kKvBudget, Setting::kKvBudgetMin,
                                          Setting::kWindow, Setting::kSink};

constexpr Setting kStreamingSettings[] = {Setting::kKvBudget, Setting::kKvBudgetMin,
                                          Setting::kSink};

// In order of preference.
constexpr AdapterKind kSentenceChunks[] = {AdapterKind::kSentence};
constexpr AdapterKind kFixedChunks[] = {AdapterKind::kFixed};
constexpr AdapterKind kAnyChunks[] = {AdapterKind::kSentence, AdapterKind::kFixed};

template <typename Policy>
std::unique_ptr<SelectionPolicy> make_from_adapter(const PolicyInputs& inputs) {
  return std::make_unique<Policy>(*inputs.adapter, inputs.settings, inputs.special_ids,
                                  inputs.token_marks);
}

int64_t chunk_index_bytes(const PolicyShape& shape, int64_t n_tokens) {
  return ChunkPolicy::index_bytes(*shape.adapter, n_tokens);
}

BlockNeeds chunk_block_needs(const PolicyShape& shape) {
  return ChunkPolicy::block_needs(*shape.adapter);
}

constexpr PolicyEntry kPolicies[] = {
    {.name = "full",
     .help = "everything",
     .make = [](const PolicyInputs&) -> std::unique_ptr<SelectionPolicy> {
       return std::make_unique<FullPolicy>();
     }},
    {.name = "chunk",
     .help = "the chunks that trained adapters choose",
     .adapters = kSentenceChunks,
     .shows_chunks = true,
     .settings = kChunkSettings,
     .make = make_from_adapter<ChunkPolicy>,
     .index_bytes = chunk_index_bytes,
     .block_needs = chunk_block_needs,
     .without_adapter = "meankey"},
    {.name = "fixed",
     .help = "the same for adapters of chunks of a fixed length",
     .adapters = kFixedChunks,
     .shows_chunks = true,
     .settings = kChunkSettings,
     .make = make_from_adapter<ChunkPolicy>,
     .index_bytes = chunk_index_bytes,
     .block_needs = chunk_block_needs},
    {.name = "meankey",
     .help = "the chunks whose mean keys attract most, without adapters",
     .settings = kChunkSettings,
     .make = [](const PolicyInputs& inputs) -> std::unique_ptr<SelectionPolicy> {
       return std::make_unique<MeanKeyPolicy>(*inputs.model, inputs.settings, inputs.special_ids,
                                              inputs.token_marks);
     },
     .index_bytes =
         [](const PolicyShape& shape, int64_t n_tokens) {
           return MeanKeyPolicy::index_bytes(shape.model, n_tokens);
         },
     .block_needs = [](const PolicyShape&) { return MeanKeyPolicy::block_needs(); }},
    {.name = "streaming",
     .help = "the first tokens and a sliding window",
     .settings = kStreamingSettings,
     .make = [](const PolicyInputs& inputs) -> std::unique_ptr<SelectionPolicy> {
       return std::make_unique<StreamingPolicy>(inputs.settings);
     }},
    {.name = "separator",
     .help = "the first tokens, a sliding window and separators, as many as there are",
     .settings = kSeparatorSettings,
     .make = [](const PolicyInputs& inputs) -> std::unique_ptr<SelectionPolicy> {
       return std::make_unique<SeparatorPolicy>(inputs.settings, inputs.token_marks);
     }},
    {.name = "quest",
     .help = "the pages of 16 tokens whose keys may attract most; two layers everything",
     .settings = kQuestSettings,
     .make = [](const PolicyInputs& inputs) -> std::unique_ptr<SelectionPolicy> {
       return std::make_unique<QuestPolicy>(*inputs.model, inputs.settings);
     },
     .index_bytes =
         [](const PolicyShape& shape, int64_t n_tokens) {
           return QuestPolicy::index_bytes(shape.model, n_tokens);
         }},
    {.name = "oracle",
     .help = "the chunks with most attention, for measuring: as slow as full",
     .adapters = kAnyChunks,
     .settings = kOracleSettings,
     .make = [](const PolicyInputs& inputs) -> std::unique_ptr<SelectionPolicy> {
       PolicyInputs without_lookup = inputs;
       without_lookup.settings.lookup = false;
       return make_from_adapter<OraclePolicy>(without_lookup);
     },
     .index_bytes = chunk_index_bytes,
     .block_needs = chunk_block_needs},
};

}  // namespace

bool PolicyEntry::reads(Setting setting) const {
  return std::ranges::find(settings, setting) != settings.end();
}

std::span<const PolicyEntry> policies() { return kPolicies; }

const PolicyEntry& full_policy() { return kPolicies[0]; }

const Adapter* adapter_for(const PolicyEntry& policy, const AdapterSet& adapters) {
  for (const AdapterKind kind : policy.adapters) {
    if (adapters.of(kind) != nullptr) return adapters.of(kind);
  }
  return nullptr;
}

const PolicyEntry& default_policy(const AdapterSet& adapters) {
  const auto fits = [&](const PolicyEntry& policy) {
    return adapter_for(policy, adapters) != nullptr;
  };
  const auto* found = std::ranges::find_if(kPolicies, fits);
  return found != std::end(kPolicies) ? *found : full_policy();
}

const PolicyEntry& policy_named(std::string_view name, std::string_view also,
                                std::string_view option) {
  const auto found = std::ranges::find(kPolicies, name, &PolicyEntry::name);
  if (found != std::end(kPolicies)) return *found;
  std::vector<std::string_view> names;
  for (const PolicyEntry& policy : kPolicies) names.push_back(policy.name);
  if (!also.empty()) names.push_back(also);
  std::string list(names.front());
  for (size_t i = 1; i < names.size(); ++i) {
    list += i + 1 < names.size() ? ", " : " or ";
    list += names[i];
  }
  fail(ErrorCode::kInvalidArgument, "{} {}: must be {}", option, name.empty() ? "''" : name, list);
}

std::string policy_help() {
  std::string text;
  for (const PolicyEntry& policy : kPolicies) {
    text += fmt::format("{}{} ({})", text.empty() ? "" : ", ", policy.name, policy.help);
  }
  return text;
}

const PolicyEntry& policy_for(const PolicyEntry& policy, const AdapterSet& adapters) {
  const bool has_all = !policy.needs_adapter() || !adapters.empty();
  return has_all || policy.without_adapter.empty() ? policy : policy_named(policy.without_adapter);
}

void require_adapter(const PolicyEntry& policy, const AdapterSet& adapters) {
  if (!policy.needs_adapter() || adapter_for(policy, adapters) != nullptr) return;
  const AdapterKind kind = policy.adapters.front();
  if (!adapters.empty()) {
    const PolicyEntry& other = default_policy(adapters);
    fail(ErrorCode::kInvalidArgument,
         "the policy '{}' needs trained adapters with {} chunks, and those at hand have {} ones; "
         "give a second --adapter DIR, or --policy {}",
         policy.name, enum_name(kind), enum_name(other.adapters.front()), other.name);
  }
  fail(ErrorCode::kInvalidArgument, "the policy '{}' needs trained adapters{}; give --adapter DIR",
       policy.name,
       kind == AdapterKind::kFixed ? " with fixed chunks (chunkllm train --chunks fixed:N)" : "");
}

std::unique_ptr<SelectionPolicy> make_policy(const PolicyEntry& policy,
                                             const PolicyInputs& inputs) {
  if (inputs.adapter == nullptr) require_adapter(policy, {});
  return policy.make(inputs);
}

SelectionSettings settings_with_defaults(SelectionSettings settings, const Adapter* adapter) {
  if (adapter != nullptr) {
    settings.window = settings.window.value_or(adapter->config.window);
    settings.sink = settings.sink.value_or(adapter->config.sink);
    settings.min_chunk = settings.min_chunk.value_or(adapter->config.min_chunk);
  }
  return settings;
}

}  // namespace chunkllm
