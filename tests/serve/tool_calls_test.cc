// Calls are told from text, however the text is cut.
#include "serve/tool_calls.h"

#include <gtest/gtest.h>

#include <memory>

#include "engine/needle_engine.h"
#include "serve/prompts.h"
#include "serve/reply.h"

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
    {"<tool_call>{\"name\": \"h\", \"arguments\": {}}</tool_call> is not offered",
     "<tool_call>{\"name\": \"h\", \"arguments\": {}}</tool_call> is not offered",
     {}},
    {"<tool_call>{\"name\": \"f\", \"arguments\": 5}</tool_call>",
     "<tool_call>{\"name\": \"f\", \"arguments\": 5}</tool_call>",
     {}},
    {"{\"name\": \"f\", \"arguments\": \"hello\"}",
     "{\"name\": \"f\", \"arguments\": \"hello\"}",
     {}},
    {"{\"name\": 3, \"arguments\": {}}", "{\"name\": 3, \"arguments\": {}}", {}},
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
      ToolCallReader reader({"f", "g"});
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

// An answer of a chat with tools, as one piece and as a stream.
TEST(ToolCalls, AreAPartOfReplies) {
  const RequestContext context{.engine = chunkllm::test::needle_engine(), .session = {}};
  for (const bool streams : {false, true}) {
    CompletionRequest request{
        .dialect = Dialect::kChat, .streams = streams, .tools = {.names = {"f"}}};
    request.jobs.push_back(std::make_shared<Job>());
    Reply reply(context, request);
    std::vector<nlohmann::ordered_json> pieces;
    for (const char* text :
         {"Well. <tool_", "call>{\"name\": \"f\", \"arguments\": {\"x\":", " 1}}"}) {
      for (auto& piece : reply.take({.text = text})) pieces.push_back(piece);
    }
    for (auto& piece : reply.take(
             {.kind = Event::Kind::kDone, .text = "</tool_call>", .finish_reason = "stop"})) {
      pieces.push_back(piece);
    }
    ASSERT_TRUE(reply.is_done());
    if (streams) {
      std::string text;
      nlohmann::ordered_json calls;
      for (const auto& piece : pieces) {
        const auto& delta = piece["choices"][0]["delta"];
        text += delta.value("content", "");
        if (delta.contains("tool_calls")) calls = delta["tool_calls"];
      }
      EXPECT_EQ(text, "Well. ");
      EXPECT_EQ(calls[0]["index"], 0);
      EXPECT_EQ(calls[0]["function"]["arguments"], "{\"x\":1}");
      EXPECT_EQ(pieces.back()["choices"][0]["finish_reason"], "tool_calls");
    } else {
      EXPECT_TRUE(pieces.empty());
      const auto choice = reply.whole()["choices"][0];
      EXPECT_EQ(choice["message"]["content"], "Well. ");
      EXPECT_EQ(choice["message"]["tool_calls"][0]["function"]["name"], "f");
      EXPECT_EQ(choice["finish_reason"], "tool_calls");
    }
  }
}

nlohmann::ordered_json tools_chat(const nlohmann::ordered_json& choice) {
  const auto tool = nlohmann::ordered_json::parse(
      R"({"type": "function", "function": {"name": "weather", "parameters": {"type": "object"}}})");
  nlohmann::ordered_json body;
  body["messages"] = nlohmann::ordered_json::array({{{"role", "user"}, {"content", "How is it?"}}});
  body["tools"] = nlohmann::ordered_json::array({tool});
  body["tool_choice"] = choice;
  return body;
}

ChatTemplate template_with(const std::string& words) {
  return ChatTemplate::from_text(
      "{# tools " + words +
          " #}{% for message in messages %}<|user|>{{ message.content }}"
          "{% endfor %}{% if add_generation_prompt %}<|assistant|>{% endif %}",
      "a template", {});
}

// The prompt's end, and the calls of an answer that goes on from there.
TEST(ToolCalls, ThatAreAskedForAreBegun) {
  const Engine& engine = chunkllm::test::needle_engine();
  struct Asked {
    const char* words;  // in the template
    nlohmann::ordered_json choice;
    std::string begun;
    std::string rest;
  };
  const auto named =
      nlohmann::ordered_json::parse(R"({"type": "function", "function": {"name": "weather"}})");
  const Asked cases[] = {
      {"<tool_call>", "auto", "", R"(<tool_call>{"name": "weather", "arguments": {}}</tool_call>)"},
      {"<tool_call>", named, "<tool_call>\n{\"name\": \"weather\", \"arguments\": {",
       "}}\n</tool_call>"},
      {"<tool_call>", "required", "<tool_call>\n{\"name\": \"",
       "weather\", \"arguments\": {}}\n</tool_call>"},
      {"", named, "{\"name\": \"weather\", \"parameters\": {", "}}"},
  };
  for (const Asked& one : cases) {
    RequestContext context{.engine = engine, .session = {}};
    context.chat_template = template_with(one.words);
    CompletionRequest request{.dialect = Dialect::kChat};
    const Prompt prompt = parse_chat(context, tools_chat(one.choice), request.tools);
    EXPECT_EQ(request.tools.begun, one.begun);
    EXPECT_TRUE(engine.tokenizer().decode(prompt.ids).ends_with(one.begun));
    EXPECT_EQ(prompt.ends.back(), prompt.n_tokens() - 1);
    request.jobs.push_back(std::make_shared<Job>());
    Reply reply(context, request);
    reply.take({.kind = Event::Kind::kDone, .text = one.rest, .finish_reason = "stop"});
    const auto message = reply.whole()["choices"][0]["message"];
    EXPECT_EQ(message["tool_calls"][0]["function"]["name"], "weather") << message;
    EXPECT_EQ(message["tool_calls"][0]["function"]["arguments"], "{}");
  }
}

TEST(ToolCalls, ChoicesThatNobodyOffersAreRefused) {
  RequestContext context{.engine = chunkllm::test::needle_engine(), .session = {}};
  context.chat_template = template_with("<tool_call>");
  ToolUse use;
  for (const char* choice :
       {R"({"function": {"name": "other"}})", R"({"function": 3})", "{}", "5", "\"bogus\""}) {
    EXPECT_THROW(parse_chat(context, tools_chat(nlohmann::ordered_json::parse(choice)), use), Error)
        << choice;
  }
  for (const char* tools : {"[]", "null", "3", R"([{"type": "function"}])"}) {
    nlohmann::ordered_json body = tools_chat("required");
    body["tools"] = nlohmann::ordered_json::parse(tools);
    EXPECT_THROW(parse_chat(context, body, use), Error) << tools;
  }
}

}  // namespace
}  // namespace chunkllm::serve
