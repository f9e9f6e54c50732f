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
    Setting::kKvBudget,   Setting::kKvBudgetMin,      Setting::kTopKChunks, Setting::kWindow,
    Setting::kSink,       Setting::kRefresh,          Setting::kPrefill,    Setting::kPrefillBudget,
    Setting::kPromptTail, Setting::kPrefillSelection, Setting::kMinChunk,   Setting::kRemainder};

constexpr Setting kQuestSettings[] = {
    Setting::kKvBudget, Setting::kKvBudgetMin,   Setting::kWindow,    Setting::kSink,
    Setting::kPrefill,  Setting::kPrefillBudget, Setting::kPromptTail};

constexpr Setting kSeparatorSettings[] = {Setting::kKvBudget, Setting::kKvBudgetMin,
                                          Setting::kWindow, Setting::kSink};

constexpr Setting kStreamingSettings[] = {Setting::kKvBudget, Setting::kKvBudgetMin,
                                          Setting::kSink};

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
     .needs_adapter = true,
     .shows_chunks = true,
     .settings = kChunkSettings,
     .make = make_from_adapter<ChunkPolicy>,
     .index_bytes = chunk_index_bytes,
     .block_needs = chunk_block_needs,
     .without_adapter = "meankey"},
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
     .help = "the first tokens, a sliding window and separators",
     .settings = kSeparatorSettings,
     .make = [](const PolicyInputs& inputs) -> std::unique_ptr<SelectionPolicy> {
       return std::make_unique<SeparatorPolicy>(inputs.settings, inputs.token_marks);
     }},
    {.name = "quest",
     .help = "the pages of 16 tokens whose keys may attract most",
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
     .needs_adapter = true,
     .settings = kChunkSettings,
     .make = make_from_adapter<OraclePolicy>,
     .index_bytes = chunk_index_bytes,
     .block_needs = chunk_block_needs},
};

}  // namespace

bool PolicyEntry::reads(Setting setting) const {
  return std::ranges::find(settings, setting) != settings.end();
}

std::span<const PolicyEntry> policies() { return kPolicies; }

const PolicyEntry& full_policy() { return kPolicies[0]; }

const PolicyEntry& default_policy(const Adapter* adapter) {
  if (adapter == nullptr) return full_policy();
  return *std::ranges::find_if(kPolicies, &PolicyEntry::needs_adapter);
}

const PolicyEntry& policy_named(std::string_view name, std::string_view also) {
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
  fail(ErrorCode::kInvalidArgument, "--policy {}: must be {}", name, list);
}

std::string policy_help() {
  std::string text;
  for (const PolicyEntry& policy : kPolicies) {
    text += fmt::format("{}{} ({})", text.empty() ? "" : ", ", policy.name, policy.help);
  }
  return text;
}

const PolicyEntry& policy_for(const PolicyEntry& policy, const Adapter* adapter) {
  const bool has_all = !policy.needs_adapter || adapter != nullptr;
  return has_all || policy.without_adapter.empty() ? policy : policy_named(policy.without_adapter);
}

void require_adapter(const PolicyEntry& policy, const Adapter* adapter) {
  if (!policy.needs_adapter || adapter != nullptr) return;
  fail(ErrorCode::kInvalidArgument, "the policy '{}' needs trained adapters; give --adapter DIR",
       policy.name);
}

std::unique_ptr<SelectionPolicy> make_policy(const PolicyEntry& policy,
                                             const PolicyInputs& inputs) {
  require_adapter(policy, inputs.adapter);
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
