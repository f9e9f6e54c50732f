#include "select/settings.h"

#include <algorithm>
#include <charconv>
#include <cmath>
#include <nlohmann/json.hpp>

#include "base/error.h"
#include "base/settings_difference.h"

namespace chunkllm {
namespace {

using Json = nlohmann::json;

constexpr int64_t kMost = int64_t{1} << 40;  // of any number of tokens or chunks

// Whether the text is a whole number above kMost.
bool is_too_large(std::string_view text) {
  int64_t n = 0;
  const char* end = text.data() + text.size();
  const auto [stop, error] = std::from_chars(text.data(), end, n);
  if (stop != end || text.starts_with('-')) return false;
  return error == std::errc::result_out_of_range || (error == std::errc() && n > kMost);
}

// A whole number of at least `min`; `what` names the option.
int64_t parse_count(std::string_view what, std::string_view text, int64_t min) {
  int64_t n = 0;
  const char* end = text.data() + text.size();
  const auto [stop, error] = std::from_chars(text.data(), end, n);
  if (error != std::errc() || stop != end || n < min || n > kMost) {
    fail(ErrorCode::kInvalidArgument, "{} {}: must be a number from {} to {}", what, text, min,
         kMost);
  }
  return n;
}

void set_kv_budget(SelectionSettings& settings, std::string_view text) {
  const KvBudget budget = KvBudget::parse(text);
  settings.budget.n_tokens = budget.n_tokens;
  settings.budget.fraction = budget.fraction;
}

Json get_kv_budget(const SelectionSettings& settings) {
  const KvBudget& budget = settings.budget;
  if (budget.top_k_chunks) return nullptr;
  return budget.fraction ? Json(*budget.fraction) : Json(budget.n_tokens);
}

Json get_prefill_budget(const SelectionSettings& settings) {
  if (!settings.prefill_budget) return "default";
  const KvBudget& budget = *settings.prefill_budget;
  return budget.fraction ? Json(*budget.fraction) : Json(budget.n_tokens);
}

Json get_kv_budget_min(const SelectionSettings& settings) {
  const KvBudget& budget = settings.budget;
  const bool of_prompts = settings.prefill_budget && settings.prefill_budget->fraction;
  if (!of_prompts && (budget.top_k_chunks || !budget.fraction)) return nullptr;
  return budget.min_tokens ? Json(*budget.min_tokens) : Json("default");
}

Json get_optional(const std::optional<int64_t>& value) { return value ? Json(*value) : Json(); }

void set_refresh(SelectionSettings& settings, std::string_view text) {
  const std::string_view name = text.substr(0, text.find(':'));
  if (name == enum_name(RefreshKind::kEvery)) {
    settings.refresh = RefreshKind::kEvery;
    const std::string_view n = text.substr(std::min(name.size() + 1, text.size()));
    const auto [stop, error] =
        std::from_chars(n.data(), n.data() + n.size(), settings.refresh_every);
    if (is_too_large(n)) {
      fail(ErrorCode::kInvalidArgument, "--refresh {}: N in every:N is too large; at most {}", text,
           kMost);
    }
    if (error == std::errc() && stop == n.data() + n.size() && settings.refresh_every > 0) return;
    fail(ErrorCode::kInvalidArgument, "--refresh {}: N in every:N must be a number above 0", text);
  }
  const std::optional<RefreshKind> kind = find_enum<RefreshKind>(text);
  if (!kind) {
    static_assert(kEnumNames<RefreshKind>.back().value == RefreshKind::kEvery);
    fail(ErrorCode::kInvalidArgument, "--refresh {}: must be {}:N, N a number of tokens", text,
         enum_list<RefreshKind>(", ", " or "));
  }
  settings.refresh = *kind;
}

Json get_refresh(const SelectionSettings& settings) {
  std::string text(enum_name(settings.refresh));
  if (settings.refresh == RefreshKind::kEvery) {
    text += ':' + std::to_string(settings.refresh_every);
  }
  return text;
}

bool parse_switch(const char* option, std::string_view text) {
  if (text != "on" && text != "off") {
    fail(ErrorCode::kInvalidArgument, "{} {}: must be on or off", option, text);
  }
  return text == "on";
}

constexpr SettingEntry kEntries[] = {
    {Setting::kKvBudget, "--kv-budget", "N|0.x",
     "Tokens attended at a refresh, or with a point a fraction of those so far (default: 2048)",
     set_kv_budget, get_kv_budget},
    {Setting::kKvBudgetMin, "--kv-budget-min", "N",
     "Least tokens of a fractional budget (default: max(256, sink + window + 2 max_chunk))",
     [](SelectionSettings& settings, std::string_view text) {
       settings.budget.min_tokens = parse_count("--kv-budget-min", text, 1);
     },
     get_kv_budget_min},
    {Setting::kTopKChunks, "--top-k-chunks", "N", "Chunks selected, instead of --kv-budget",
     [](SelectionSettings& settings, std::string_view text) {
       settings.budget.top_k_chunks = parse_count("--top-k-chunks", text, 1);
     },
     [](const SelectionSettings& settings) { return get_optional(settings.budget.top_k_chunks); }},
    {Setting::kWindow, "--window", "N",
     "Tokens of the local range (default: the adapter's, else 64)",
     [](SelectionSettings& settings, std::string_view text) {
       settings.window = parse_count("--window", text, 1);
     },
     [](const SelectionSettings& settings) { return get_optional(settings.window); }},
    {Setting::kSink, "--sink", "N", "First tokens always attended (default: the adapter's, else 4)",
     [](SelectionSettings& settings, std::string_view text) {
       settings.sink = parse_count("--sink", text, 0);
     },
     [](const SelectionSettings& settings) { return get_optional(settings.sink); }},
    {Setting::kRefresh, "--refresh", "WHEN",
     "When the selection is renewed: answer (at boundaries, prompt ends and each token of an "
     "answer), prompt-end (at the first two), boundary, every:N tokens (default: answer)",
     set_refresh, get_refresh},
    {Setting::kPrefill, "--prefill", "HOW",
     "chunk: prompt tokens attend to selections; full: to everything before the prompt end "
     "(default: chunk)",
     [](SelectionSettings& settings, std::string_view text) {
       settings.prefill = parse_enum<PrefillKind>("--prefill", text);
     },
     [](const SelectionSettings& settings) { return Json(enum_name(settings.prefill)); }},
    {Setting::kPrefillBudget, "--prefill-budget", "N|0.x",
     "Tokens that prompt tokens attend to, as --kv-budget has them (default: --kv-budget); never "
     "fewer than that or 2048",
     [](SelectionSettings& settings, std::string_view text) {
       settings.prefill_budget = KvBudget::parse(text, "--prefill-budget");
     },
     get_prefill_budget},
    {Setting::kPromptTail, "--prompt-tail", "N",
     "Tokens before a prompt end that attend to everything (default: 64)",
     [](SelectionSettings& settings, std::string_view text) {
       settings.prompt_tail = parse_count("--prompt-tail", text, 0);
     },
     [](const SelectionSettings& settings) { return Json(settings.prompt_tail); }},
    {Setting::kPrefillSelection, "--prefill-selection", "WHICH",
     "own: a prompt's chunk attends by the selection made at its end; previous: by the one before "
     "(default: own)",
     [](SelectionSettings& settings, std::string_view text) {
       settings.prefill_selection = parse_enum<PrefillSelection>("--prefill-selection", text);
     },
     [](const SelectionSettings& settings) { return Json(enum_name(settings.prefill_selection)); }},
    {Setting::kMinChunk, "--min-chunk", "N",
     "Tokens before which a predicted boundary ends no chunk (default: the adapter's, else 8)",
     [](SelectionSettings& settings, std::string_view text) {
       settings.min_chunk = parse_count("--min-chunk", text, 1);
     },
     [](const SelectionSettings& settings) { return get_optional(settings.min_chunk); }},
    {Setting::kRemainder, "--remainder", "on|off",
     "Whether rows stand for the chunks that are not chosen, up to a quarter of the budget "
     "(default: off)",
     [](SelectionSettings& settings, std::string_view text) {
       settings.remainder = parse_switch("--remainder", text);
     },
     [](const SelectionSettings& settings) { return Json(settings.remainder); }},
    {Setting::kLayerBudgets, "--layer-budgets", "on|off",
     "Whether layers share one budget as the adapter says, or each has it (default: off)",
     [](SelectionSettings& settings, std::string_view text) {
       settings.layer_budgets = parse_switch("--layer-budgets", text);
     },
     [](const SelectionSettings& settings) { return Json(settings.layer_budgets); }},
    {Setting::kLookup, "--lookup", "on|off",
     "Whether answers prefer the chunks in which their last tokens stood before, up to a quarter "
     "of "
     "the budget (default: on)",
     [](SelectionSettings& settings, std::string_view text) {
       settings.lookup = parse_switch("--lookup", text);
     },
     [](const SelectionSettings& settings) { return Json(settings.lookup); }},
};

}  // namespace

std::span<const SettingEntry> setting_entries() { return kEntries; }

std::string difference_with_settings(const nlohmann::json& saved, const nlohmann::ordered_json& now,
                                     const SelectionSettings& defaults) {
  nlohmann::json others_saved = saved;
  nlohmann::ordered_json others = now;
  nlohmann::json by_flag;
  for (const SettingEntry& entry : kEntries) {
    const std::string flag(entry.flag);
    if (others_saved.is_object()) others_saved.erase(flag);
    others.erase(flag);
    by_flag[flag] = entry.get(defaults);
  }
  const std::string difference = settings_difference(others_saved, others, by_flag);
  return difference.empty() ? settings_difference(saved, now, by_flag) : difference;
}

void check_settings(const SelectionSettings& settings, std::span<const Setting> given) {
  const auto has = [&](Setting setting) {
    return std::ranges::find(given, setting) != given.end();
  };
  if (has(Setting::kKvBudget) && has(Setting::kTopKChunks)) {
    fail(ErrorCode::kInvalidArgument,
         "--kv-budget and --top-k-chunks exclude each other; give one");
  }
  const bool has_fraction = settings.budget.fraction.has_value() ||
                            (settings.prefill_budget && settings.prefill_budget->fraction);
  if (has(Setting::kKvBudgetMin) && !has_fraction) {
    fail(ErrorCode::kInvalidArgument,
         "--kv-budget-min is for a fractional --kv-budget such as 0.1; give one or leave it out");
  }
}

KvBudget KvBudget::parse(std::string_view text, std::string_view option) {
  KvBudget budget;
  const char* end = text.data() + text.size();
  if (text.find('.') != std::string_view::npos) {
    double fraction = 0;
    const auto [stop, error] = std::from_chars(text.data(), end, fraction);
    if (error == std::errc() && stop == end && fraction > 0.0 && fraction <= 1.0) {
      budget.fraction = fraction;
      return budget;
    }
  } else {
    if (is_too_large(text)) {
      fail(ErrorCode::kInvalidArgument, "{} {} is too large; at most {} tokens", option, text,
           kMost);
    }
    int64_t n_tokens = 0;
    const auto [stop, error] = std::from_chars(text.data(), end, n_tokens);
    if (error == std::errc() && stop == end && n_tokens > 0) {
      budget.n_tokens = n_tokens;
      return budget;
    }
  }
  fail(ErrorCode::kInvalidArgument,
       "{} {}: must be a number of tokens above 0 or, with a point, a fraction up to 1.0", option,
       text);
}

int64_t KvBudget::tokens_at(int64_t position, int64_t least) const {
  if (top_k_chunks) return 0;
  if (!fraction) return n_tokens;
  const double share = std::floor(*fraction * static_cast<double>(position + 1));
  return std::max(static_cast<int64_t>(share), least);
}

int64_t SelectionSettings::prefill_tokens_at(int64_t position, int64_t least) const {
  return std::max({prefill_budget.value_or(budget).tokens_at(position, least),
                   budget.tokens_at(position, least), prefill_floor});
}

int64_t KvBudget::least_tokens(int64_t sink, int64_t window, int64_t max_chunk) const {
  return min_tokens.value_or(std::max<int64_t>(256, sink + window + 2 * max_chunk));
}

}  // namespace chunkllm
