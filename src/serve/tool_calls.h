// Calls of tools in the text of an answer: {"name": ..., "arguments": ...} between <tool_call> and
// </tool_call>, as Hermes and Qwen write them, or alone with "parameters", as Llama 3 does.
#pragma once

#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace chunkllm::serve {

struct ToolCall {
  std::string name;
  std::string arguments;  // a text of JSON
};

// Takes in an answer piece by piece and tells its calls from its text. What may yet be a call is
// held back; what turns out to be none is text. One thread at a time.
class ToolCallReader {
 public:
  // Calls of other functions than these are text.
  explicit ToolCallReader(std::vector<std::string> names) : names_(std::move(names)) {}

  // The text that `piece` lets be shown.
  std::string push(std::string_view piece);
  // The same at the end of the answer; calls() are complete then.
  std::string finish();
  const std::vector<ToolCall>& calls() const { return calls_; }

 private:
  std::string take_calls();
  std::optional<ToolCall> parse_call(std::string_view text) const;

  std::vector<std::string> names_;
  std::string held_;
  bool began_ = false;  // something but white space was shown or was a call
  std::vector<ToolCall> calls_;
};

}  // namespace chunkllm::serve
