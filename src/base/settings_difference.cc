#include "base/settings_difference.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <nlohmann/json.hpp>
#include <string_view>
#include <vector>

#include "base/json.h"

namespace chunkllm {
namespace {

using Json = nlohmann::json;

constexpr size_t kMostShown = 4;     // differences
constexpr size_t kMostOfValue = 48;  // bytes

// As it is if it is short and all of it can be seen.
std::string plain(const std::string& text) {
  const auto is_visible = [](char c) { return c >= ' ' && c < 0x7f && c != '"' && c != '\\'; };
  const bool is_plain =
      !text.empty() && text.size() <= kMostOfValue && std::ranges::all_of(text, is_visible);
  return is_plain ? text : show_text(text);
}

bool is_digest(const Json& value) {
  constexpr size_t kLeastDigits = 16;
  if (!value.is_string()) return false;
  const auto& text = value.get_ref<const std::string&>();
  return text.size() >= kLeastDigits &&
         text.find_first_not_of("0123456789abcdef") == std::string::npos;
}

// One setting by its name on both sides.
struct Difference {
  std::string name;
  Json before;
  Json now;
  Json fallback;  // what it is where nobody gives it; null: not known

  bool is_given(const Json& value) const {
    return !value.is_null() && value != "default" && value != fallback && !is_digest(value);
  }
  bool follows_from_others() const {
    return (before.is_null() || now.is_null()) && !is_given(before) && !is_given(now);
  }
  std::string said(const Json& value) const {
    return setting_text(value) + (value == fallback ? " (the default)" : "");
  }
  std::string text() const {
    if (is_digest(before) && is_digest(now)) return "another " + plain(name);
    const std::string after = now.is_null() ? "none" : now == "default" ? "the default" : said(now);
    if (before.is_null()) return fmt::format("no {}, now {}", plain(name), after);
    if (before == "default") return fmt::format("the default {}, now {}", plain(name), after);
    return fmt::format("{} {}, now {}", plain(name), said(before), after);
  }
};

}  // namespace

std::string setting_text(const Json& value) {
  if (value.is_string()) return plain(value.get<std::string>());
  if (value.is_boolean()) return value.get<bool>() ? "on" : "off";
  const std::string text = value.dump(-1, ' ', true, Json::error_handler_t::replace);
  return text.size() > kMostOfValue ? text.substr(0, kMostOfValue) + "..." : text;
}

std::string settings_difference(const Json& saved, const nlohmann::ordered_json& now,
                                const Json& defaults) {
  std::vector<Difference> differences;
  const auto compare = [&](const std::string& name, const Json& before, const Json& after) {
    if (before == after) return;
    differences.push_back({name, before, after, defaults.value(name, Json())});
  };
  for (const auto& [name, value] : now.items()) {
    compare(name, saved.is_object() ? saved.value(name, Json()) : Json(), Json(value));
  }
  for (const auto& [name, value] : saved.items()) {
    if (saved.is_object() && !now.contains(name)) compare(name, value, nullptr);
  }
  if (!std::ranges::all_of(differences, &Difference::follows_from_others)) {
    std::erase_if(differences, [](const Difference& d) { return d.follows_from_others(); });
  }
  std::stable_partition(differences.begin(), differences.end(),
                        [](const Difference& d) { return d.is_given(d.before); });
  std::vector<std::string> texts;
  for (size_t i = 0; i < std::min(differences.size(), kMostShown); ++i) {
    texts.push_back(differences[i].text());
  }
  if (differences.size() > kMostShown) {
    texts.push_back(fmt::format("and {} more", differences.size() - kMostShown));
  }
  return fmt::format("{}", fmt::join(texts, "; "));
}

}  // namespace chunkllm
