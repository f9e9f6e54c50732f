// All selection policies, one entry each: the command line and its help, `bench`, JSON, saved
// caches and memory estimates derive from these.
#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <string_view>

#include "model/config.h"
#include "select/chunk/adapter.h"
#include "select/policy.h"
#include "select/settings.h"

namespace chunkllm {

// What a policy may be made from. All but `settings` must outlive it.
struct PolicyInputs {
  const ModelConfig* model = nullptr;  // never null
  const Adapter* adapter = nullptr;    // adapter_for() the policy; null: there is none
  SelectionSettings settings;
  std::span<const int32_t> special_ids;  // the tokenizer's special tokens, ascending
  std::span<const uint8_t> token_marks;  // by token id (chunk/token_marks.h); may be empty
};

// What the memory of a policy depends on, beside the length of the context.
struct PolicyShape {
  const ModelConfig& model;
  const AdapterConfig* adapter;  // never null for a policy that needs an adapter
};

struct PolicyEntry {
  std::string_view name;
  std::string_view help;  // what tokens attend to, in a few words
  // The kinds of trained adapters that it can be made from, the first that is there; empty: it
  // needs none.
  std::span<const AdapterKind> adapters = {};
  bool shows_chunks = false;               // SelectionPolicy::chosen_at() knows what it chose
  std::span<const Setting> settings = {};  // those it reads; none: it attends to everything
  // The state of an empty sequence. `inputs` has an adapter where one is needed. Throws Error
  // (kInvalidArgument) for settings that it cannot use.
  std::unique_ptr<SelectionPolicy> (*make)(const PolicyInputs& inputs) = nullptr;
  // Bytes that its index takes at `n_tokens`, foretold; null: it keeps none.
  int64_t (*index_bytes)(const PolicyShape& shape, int64_t n_tokens) = nullptr;
  // What its blocks need; null: nothing.
  BlockNeeds (*block_needs)(const PolicyShape& shape) = nullptr;
  // The name of the policy that takes its place where there are no adapters; empty: no other does.
  std::string_view without_adapter = {};

  bool needs_adapter() const { return !adapters.empty(); }
  bool reads(Setting setting) const;
  bool selects() const { return !settings.empty(); }
};

// In the order in which lists show them; `full` is the first.
std::span<const PolicyEntry> policies();

const PolicyEntry& full_policy();
// The adapter that the policy is made from; null if it needs none, or there is none.
const Adapter* adapter_for(const PolicyEntry& policy, const AdapterSet& adapters);
// What runs where nothing is asked for: the first policy that is made from one of the adapters, or
// else `full`.
const PolicyEntry& default_policy(const AdapterSet& adapters);
// The entry of that name. Throws Error (kInvalidArgument) that lists the names, and `also`, a word
// that the caller takes besides; `option` is where the name was given.
const PolicyEntry& policy_named(std::string_view name, std::string_view also = {},
                                std::string_view option = "--policy");
// "full (everything), chunk (...)": names and help.
std::string policy_help();

// The policy itself, or the one that takes its place where it needs an adapter and there are none
// of any kind.
const PolicyEntry& policy_for(const PolicyEntry& policy, const AdapterSet& adapters);

// Throws Error (kInvalidArgument) if the policy needs an adapter and there is none for it.
void require_adapter(const PolicyEntry& policy, const AdapterSet& adapters);
// Throws Error as require_adapter() does.
std::unique_ptr<SelectionPolicy> make_policy(const PolicyEntry& policy, const PolicyInputs& inputs);

// The settings with the adapter's where the user left them open. `adapter` may be null.
SelectionSettings settings_with_defaults(SelectionSettings settings, const Adapter* adapter);

}  // namespace chunkllm
