#include "select/registry.h"

#include <gtest/gtest.h>

#include <nlohmann/json.hpp>
#include <set>

#include "testing/expect_error.h"

namespace chunkllm {
namespace {

TEST(Policies, HaveNamesOfTheirOwnAndAreFoundByThem) {
  std::set<std::string_view> names;
  for (const PolicyEntry& policy : policies()) {
    EXPECT_TRUE(names.insert(policy.name).second) << policy.name;
    EXPECT_EQ(&policy_named(policy.name), &policy);
    EXPECT_FALSE(policy.help.empty());
    EXPECT_NE(policy_help().find(policy.name), std::string::npos);
  }
  EXPECT_EQ(full_policy().name, "full");
  EXPECT_FALSE(full_policy().selects());
}

TEST(Policies, AnUnknownNameIsRefusedWithTheList) {
  for (const PolicyEntry& policy : policies()) {
    expect_error(ErrorCode::kInvalidArgument, std::string(policy.name),
                 [] { policy_named("none"); });
  }
  expect_error(
      ErrorCode::kInvalidArgument,
      "--policy none: must be full, chunk, fixed, meankey, streaming, separator, quest, oracle or "
      "auto",
      [] { policy_named("none", "auto"); });
}

TEST(Policies, OneThatNeedsAnAdapterIsNotMadeWithout) {
  ModelConfig model;
  model.n_layers = 2;
  model.n_heads = model.n_kv_heads = 1;
  model.head_dim = 8;
  PolicyInputs inputs;
  inputs.model = &model;
  for (const PolicyEntry& policy : policies()) {
    if (!policy.needs_adapter()) {
      EXPECT_NE(make_policy(policy, inputs), nullptr);
      EXPECT_EQ(&policy_for(policy, {}), &policy);
    } else {
      expect_error(ErrorCode::kInvalidArgument, "--adapter", [&] { make_policy(policy, inputs); });
    }
    if (!policy.without_adapter.empty()) {
      const PolicyEntry& other = policy_for(policy, {});
      EXPECT_EQ(other.name, policy.without_adapter);
      EXPECT_FALSE(other.needs_adapter());
      const Adapter adapter;
      EXPECT_EQ(&policy_for(policy, AdapterSet::only(&adapter)), &policy);
    }
  }
}

TEST(Policies, TheDefaultGoesByTheAdapter) {
  EXPECT_EQ(&default_policy({}), &full_policy());
  Adapter sentence;
  Adapter fixed;
  fixed.config.fixed_chunk = 24;
  EXPECT_EQ(default_policy(AdapterSet::only(&sentence)).name, "chunk");
  EXPECT_EQ(default_policy(AdapterSet::only(&fixed)).name, "fixed");
  EXPECT_EQ(default_policy({&sentence, &fixed}).name, "chunk");
}

TEST(Policies, EachTakesTheAdapterThatFits) {
  Adapter sentence;
  Adapter fixed;
  fixed.config.fixed_chunk = 24;
  const AdapterSet both{&sentence, &fixed};
  EXPECT_EQ(adapter_for(policy_named("chunk"), both), &sentence);
  EXPECT_EQ(adapter_for(policy_named("fixed"), both), &fixed);
  EXPECT_EQ(adapter_for(policy_named("oracle"), both), &sentence);
  EXPECT_EQ(adapter_for(policy_named("oracle"), AdapterSet::only(&fixed)), &fixed);
  EXPECT_EQ(adapter_for(policy_named("meankey"), both), nullptr);
  EXPECT_TRUE(AdapterSet::only(nullptr).empty());
  for (const PolicyEntry& policy : policies()) EXPECT_NO_THROW(require_adapter(policy, both));

  // One of the other kind is an error that says what to do, not a reason for a substitute.
  const AdapterSet other = AdapterSet::only(&fixed);
  EXPECT_EQ(policy_for(policy_named("chunk"), other).name, "chunk");
  expect_error(ErrorCode::kInvalidArgument,
               "the policy 'chunk' needs trained adapters with sentence chunks, and those at hand "
               "have fixed ones; give a second --adapter DIR, or --policy fixed",
               [&] { require_adapter(policy_named("chunk"), other); });
  expect_error(ErrorCode::kInvalidArgument, "have sentence ones",
               [&] { require_adapter(policy_named("fixed"), AdapterSet::only(&sentence)); });
  expect_error(ErrorCode::kInvalidArgument, "chunkllm train --chunks fixed:N",
               [&] { require_adapter(policy_named("fixed"), {}); });
}

TEST(Settings, StandInTheOrderOfTheEnumAndAreReadBackAsWritten) {
  const std::span<const SettingEntry> entries = setting_entries();
  for (size_t i = 0; i < entries.size(); ++i) {
    EXPECT_EQ(static_cast<size_t>(entries[i].setting), i);
    EXPECT_TRUE(entries[i].flag.starts_with("--"));
  }
  const auto written = [&](Setting setting, std::string_view text) {
    const SettingEntry& entry = entries[static_cast<size_t>(setting)];
    SelectionSettings settings;
    entry.set(settings, text);
    return entry.get(settings);
  };
  EXPECT_EQ(written(Setting::kKvBudget, "300"), 300);
  EXPECT_EQ(written(Setting::kKvBudget, "0.5"), 0.5);
  EXPECT_EQ(written(Setting::kTopKChunks, "3"), 3);
  EXPECT_EQ(written(Setting::kWindow, "5"), 5);
  EXPECT_EQ(written(Setting::kSink, "0"), 0);
  EXPECT_EQ(written(Setting::kRefresh, "every:16"), "every:16");
  EXPECT_EQ(written(Setting::kRefresh, "boundary"), "boundary");
  EXPECT_EQ(written(Setting::kPrefill, "full"), "full");
  EXPECT_EQ(written(Setting::kPrefillBudget, "0.25"), 0.25);
  EXPECT_EQ(written(Setting::kPromptTail, "0"), 0);
  EXPECT_EQ(written(Setting::kPrefillSelection, "previous"), "previous");
  EXPECT_EQ(written(Setting::kMinChunk, "3"), 3);
  for (const SettingEntry& entry : entries) {
    SelectionSettings settings;
    expect_error(ErrorCode::kInvalidArgument, std::string(entry.flag),
                 [&] { entry.set(settings, "every:"); });
    expect_error(ErrorCode::kInvalidArgument, std::string(entry.flag),
                 [&] { entry.set(settings, "-1"); });
  }
}

}  // namespace
}  // namespace chunkllm
