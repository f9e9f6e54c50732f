// Calls are told from text, however the text is cut.
#include "serve/tool_calls.h"

#include <gtest/gtest.h>

namespace chunkllm::serve {
namespace {

struct Case {
  std::string text;
  std::string shown;
  std::vector<std::string> calls;  // name and arguments
};

const Case kCases[] = {
    {"No call at all.", "No call at all.", {}},
    {"a < b and <tool is no marker", "a < b and <tool is no marker", {}},
    {"<tool_call>\n{\"name\": \"f\", \"arguments\": {\"x\": 1}}\n</tool_call>", "", {"f{\"x\":1}"}},
    {"Let me see.\n<tool_call>{\"name\": \"f\", \"arguments\": "
     "{}}</tool_call>\n<tool_call>{\"name\": "
     "\"g\", \"arguments\": \"{}\"}</tool_call>",
     "Let me see.\n",
     {"f{}", "g{}"}},
    {"{\"name\": \"f\", \"parameters\": {\"city\": \"Bonn\"}}", "", {"f{\"city\":\"Bonn\"}"}},
    {"<|python_tag|>{\"name\": \"f\", \"parameters\": {}}", "", {"f{}"}},
    {"{\"name\": \"no call\"}", "{\"name\": \"no call\"}", {}},
    {"{\"a\": 1} is an object", "{\"a\": 1} is an object", {}},
    {"<tool_call>no JSON</tool_call>", "<tool_call>no JSON</tool_call>", {}},
    {"<tool_call>{\"name\": \"f\", \"arguments\": {\"x\"",
     "<tool_call>{\"name\": \"f\", \"arguments\": {\"x\"",
     {}},
    {"<tool_call>{\"name\": \"f\", \"arguments\": {}}", "", {"f{}"}},  // the end marker ended it
    {"", "", {}},
};

TEST(ToolCalls, AreTheSameInPiecesOfAnySize) {
  for (const Case& c : kCases) {
    for (size_t n = 1; n <= c.text.size() + 1; ++n) {
      ToolCallReader reader;
      std::string shown;
      for (size_t begin = 0; begin < c.text.size(); begin += n) {
        shown += reader.push(c.text.substr(begin, n));
      }
      shown += reader.finish();
      std::vector<std::string> calls;
      for (const ToolCall& call : reader.calls()) calls.push_back(call.name + call.arguments);
      EXPECT_EQ(shown, c.shown) << c.text << " in pieces of " << n;
      EXPECT_EQ(calls, c.calls) << c.text << " in pieces of " << n;
    }
  }
}

}  // namespace
}  // namespace chunkllm::serve
