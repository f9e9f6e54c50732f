#include "serve/tool_calls.h"

#include <algorithm>
#include <optional>
#include <utility>

namespace chunkllm::serve {
namespace {

using Json = nlohmann::ordered_json;

constexpr std::string_view kBegin = "<tool_call>";
constexpr std::string_view kEnd = "</tool_call>";
constexpr std::string_view kPythonTag = "<|python_tag|>";
constexpr std::string_view kBlank = " \t\r\n";

std::string_view trimmed(std::string_view text) {
  const size_t begin = text.find_first_not_of(kBlank);
  if (begin == text.npos) return {};
  return text.substr(begin, text.find_last_not_of(kBlank) - begin + 1);
}

// Where a marker begins in the text, or may begin at its end; npos: nowhere.
size_t find_marker(std::string_view text, std::string_view marker) {
  const size_t whole = text.find(marker);
  if (whole != text.npos) return whole;
  for (size_t n = std::min(marker.size() - 1, text.size()); n > 0; --n) {
    if (text.ends_with(marker.substr(0, n))) return text.size() - n;
  }
  return text.npos;
}

}  // namespace

std::optional<ToolCall> ToolCallReader::parse_call(std::string_view text) const {
  const Json json = Json::parse(trimmed(text), nullptr, false);
  if (!json.is_object() || !json.contains("name") || !json["name"].is_string()) return {};
  const auto name = json["name"].get<std::string>();
  if (std::ranges::find(names_, name) == names_.end()) return {};
  const char* key = json.contains("arguments") ? "arguments" : "parameters";
  if (!json.contains(key)) return {};
  const Json& arguments = json[key];
  const std::string written =
      arguments.is_string() ? arguments.get<std::string>() : arguments.dump();
  if (!Json::parse(written, nullptr, false).is_object()) return {};
  return ToolCall{name, written};
}

std::string ToolCallReader::push(std::string_view piece) {
  held_ += piece;
  return take_calls();
}

// What of held_ can be shown now.
std::string ToolCallReader::take_calls() {
  std::string shown;
  while (true) {
    // A call that is not marked is all there is of an answer.
    if (!began_ && calls_.empty()) {
      const std::string_view text = trimmed(held_);
      if (text.empty() || text.front() == '{' || text.starts_with(kPythonTag) ||
          kPythonTag.starts_with(text)) {
        return shown;
      }
    }
    const size_t begin = find_marker(held_, kBegin);
    const size_t n_shown = std::min(begin, held_.size());
    // Blanks around calls are no text.
    if (!calls_.empty() && trimmed(std::string_view(held_).substr(0, n_shown)).empty()) {
      if (begin == held_.npos) return shown;
    } else {
      shown += held_.substr(0, n_shown);
      began_ = began_ || !trimmed(shown).empty();
    }
    held_.erase(0, n_shown);
    const size_t end = held_.find(kEnd);
    if (!held_.starts_with(kBegin) || end == held_.npos) return shown;
    if (auto call =
            parse_call(std::string_view(held_).substr(kBegin.size(), end - kBegin.size()))) {
      calls_.push_back(std::move(*call));
    } else {
      shown += held_.substr(0, end + kEnd.size());
    }
    began_ = true;
    held_.erase(0, end + kEnd.size());
  }
}

std::string ToolCallReader::finish() {
  std::string_view text = trimmed(held_);
  if (text.starts_with(kPythonTag)) text.remove_prefix(kPythonTag.size());
  if (text.starts_with(kBegin)) text.remove_prefix(kBegin.size());
  const bool may_be_call = !began_ || std::string_view(held_).starts_with(kBegin);
  if (auto call = may_be_call ? parse_call(text) : std::nullopt) {
    calls_.push_back(std::move(*call));
    held_.clear();
    return {};
  }
  std::string rest = std::exchange(held_, {});
  return !calls_.empty() && trimmed(rest).empty() ? std::string() : rest;
}

}  // namespace chunkllm::serve
