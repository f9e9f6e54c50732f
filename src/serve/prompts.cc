#include "serve/prompts.h"

#include <algorithm>
#include <utility>

#include "base/error.h"

namespace chunkllm::serve {
namespace {

using Json = nlohmann::ordered_json;

// A prompt of these tokens, all of which somebody wrote.
Prompt prompt_of(std::vector<int32_t> ids) {
  Prompt prompt;
  prompt.ids = std::move(ids);
  if (prompt.ids.empty()) {
    fail(ErrorCode::kInvalidArgument, "the prompt is empty; give at least one token");
  }
  prompt.ends = {prompt.n_tokens() - 1};
  prompt.written = {{0, prompt.n_tokens()}};
  return prompt;
}

Prompt prompt_of_ids(const RequestContext& context, const Json& json) {
  std::vector<int32_t> ids;
  for (const Json& id : json) {
    if (!id.is_number()) {
      fail(ErrorCode::kInvalidArgument, "prompt mixes token ids with {}; give one kind",
           id.type_name());
    }
    if (!id.is_number_integer()) {
      fail(ErrorCode::kInvalidArgument, "prompt holds {}, and token ids are whole numbers",
           id.dump());
    }
    const auto value = id.get<int64_t>();
    if (value < 0 || value >= static_cast<int64_t>(context.engine.config().n_vocab)) {
      fail(ErrorCode::kInvalidArgument,
           "prompt has the token id {}, which is outside the model's vocabulary of {}", value,
           context.engine.config().n_vocab);
    }
    ids.push_back(static_cast<int32_t>(value));
  }
  return prompt_of(std::move(ids));
}

Prompt prompt_of_text(const RequestContext& context, const std::string& text, bool add_special) {
  const Tokenizer& tokenizer = context.engine.tokenizer();
  if (add_special) return text_prompt(tokenizer, text);
  return prompt_of(tokenizer.encode(text));
}

void truncate_left(Prompt& prompt, int64_t n_tokens) {
  if (prompt.n_tokens() <= n_tokens) return;
  prompt = prompt_of({prompt.ids.end() - n_tokens, prompt.ids.end()});
}

// The text of a content: a string, or parts of the type "text".
std::string joined_parts(const Json& parts) {
  std::string text;
  for (const Json& part : parts) {
    if (!part.is_object() || !part.contains("type")) {
      fail(ErrorCode::kData, "messages: a part of a content must be an object with a type");
    }
    if (part["type"] == "text" && (!part.contains("text") || !part["text"].is_string())) {
      fail(ErrorCode::kData, "messages: a part of the type text must have a string as text");
    }
    if (part["type"] != "text") {
      fail(ErrorCode::kUnsupported,
           "messages: a part of the type {} is not supported; this model reads text",
           part["type"].dump());
    }
    if (!text.empty()) text += "\n";
    text += part["text"].get_ref<const std::string&>();
  }
  return text;
}

// Arguments come as a text of JSON; templates write them as an object.
Json parsed_calls(const Json& calls) {
  Json parsed = calls;
  for (Json& call : parsed) {
    if (!call.is_object() || !call.contains("function") || !call["function"].is_object()) continue;
    Json& function = call["function"];
    if (!function.contains("arguments") || !function["arguments"].is_string()) continue;
    const auto text = function["arguments"].get<std::string>();
    if (Json::accept(text)) {
      function["arguments"] =
          parse_ordered_json(text, "messages: the arguments of a call", "send valid JSON");
    }
  }
  return parsed;
}

Json checked_message(const Json& given) {
  if (!given.is_object()) return given;  // parse_messages() says what is wrong
  Json message = Json::object();
  for (const auto& [name, value] : given.items()) {
    if (name == "content" && value.is_array()) {
      message[name] = joined_parts(value);
    } else if (name == "role" && value == "developer") {
      message[name] = "system";
    } else if (name == "tool_calls") {
      if (value.is_array() && value.empty()) continue;
      if (!value.is_null()) message[name] = value.is_array() ? parsed_calls(value) : value;
    } else if (name == "content" || name == "role" || value.is_string()) {
      message[name] = value;
    }
  }
  return message;
}

// The first words of the call that `choice` asks for: of the function it names, or of any.
std::string begun_call(const Json& choice, const Json& tools, const std::string& chat_template) {
  std::string name;
  if (choice.is_object()) {
    const Json function = choice.value("function", Json());
    if (!function.is_object() || !function.contains("name") || !function["name"].is_string()) {
      fail(ErrorCode::kInvalidArgument,
           "tool_choice must be auto, none, required or name a function");
    }
    name = function["name"];
    const bool is_known = std::ranges::any_of(tools, [&](const Json& tool) {
      return tool.value("function", Json::object()).value("name", Json()) == name;
    });
    if (!is_known) {
      fail(ErrorCode::kInvalidArgument, "tool_choice names {}, which is not among the tools", name);
    }
  }
  if (chat_template.find("tools") == std::string::npos) {
    fail(ErrorCode::kInvalidArgument,
         "the model's chat template takes no tools; leave tool_choice out, or start the server "
         "with another --chat-template");
  }
  const bool is_hermes = chat_template.find("<tool_call>") != std::string::npos;
  const std::string begun = is_hermes ? "<tool_call>\n{\"name\": " : "{\"name\": ";
  if (name.empty()) return begun + '"';
  // Arguments are an object.
  return begun + Json(name).dump() + (is_hermes ? ", \"arguments\": {" : ", \"parameters\": {");
}

// Tools are functions with names, and the choice among them is one that can be made.
void check_tools(const Json& tools, const Json& choice) {
  const auto is_function = [](const Json& tool) {
    return tool.is_object() && tool.contains("function") && tool["function"].is_object() &&
           tool["function"].contains("name") && tool["function"]["name"].is_string() &&
           tool["function"]["name"] != "";
  };
  if (!tools.is_null() && !(tools.is_array() && std::ranges::all_of(tools, is_function))) {
    fail(ErrorCode::kInvalidArgument,
         "tools must be an array of objects of the type function, each of which has a name");
  }
  const bool asks = choice.is_object() || choice == "required";
  if (!asks && !choice.is_null() && choice != "auto" && choice != "none") {
    fail(ErrorCode::kInvalidArgument,
         "tool_choice must be auto, none, required or name a function");
  }
  if (asks && tools.empty()) {
    fail(ErrorCode::kInvalidArgument, "tool_choice asks for a call and there are no tools");
  }
}

ChatTemplate template_for(const RequestContext& context, const Json& body, ToolUse& use) {
  if (!context.chat_template) fail(ErrorCode::kUnsupported, "{}", context.chat_template_error);
  Json variables = Json::object();
  if (body.contains("chat_template_kwargs") && !body["chat_template_kwargs"].is_null()) {
    variables = body["chat_template_kwargs"];
    if (!variables.is_object()) {
      fail(ErrorCode::kInvalidArgument, "chat_template_kwargs must be an object");
    }
  }
  use = {};
  const Json tools = body.value("tools", Json());
  const Json choice = body.value("tool_choice", Json());
  check_tools(tools, choice);
  if (choice != "none" && !tools.empty()) {
    variables["tools"] = tools;
    for (const Json& tool : tools) use.names.push_back(tool["function"]["name"]);
  }
  if (choice.is_object() || choice == "required") {
    use.begun = begun_call(choice, tools, context.chat_template->source());
  }
  return context.chat_template->with(variables);
}

// The same messages with empty contents where there are none; nothing if there are no such.
std::vector<ChatMessage> with_contents(std::vector<ChatMessage> messages) {
  bool any = false;
  for (ChatMessage& message : messages) {
    if (!message.given.is_object()) continue;
    if (message.given.contains("content") && !message.given["content"].is_null()) continue;
    message.given["content"] = "";
    any = true;
  }
  if (!any) messages.clear();
  return messages;
}

// make(messages), or, where that fails, with empty contents in place of none: clients send null
// where a message calls tools alone, and not every template takes that.
template <typename Make>
auto with_texts(const std::vector<ChatMessage>& messages, const Make& make) {
  try {
    return make(messages);
  } catch (const Error&) {
    const std::vector<ChatMessage> texts = with_contents(messages);
    if (texts.empty()) throw;
    return make(texts);
  }
}

const Json& messages_of(const Json& body) {
  if (!body.contains("messages")) {
    fail(ErrorCode::kInvalidArgument, "the field messages is missing");
  }
  return body["messages"];
}

}  // namespace

std::vector<ChatMessage> parse_chat_messages(const Json& messages) {
  Json checked = messages;
  if (messages.is_array()) {
    for (Json& message : checked) message = checked_message(message);
  }
  return parse_messages(checked, "messages");
}

std::vector<Prompt> parse_prompts(const RequestContext& context, const Json& body,
                                  const JsonFields& fields) {
  const auto prompt = body.find("prompt");
  if (prompt == body.end() || prompt->is_null()) {
    fail(ErrorCode::kInvalidArgument, "the field prompt is missing");
  }
  const bool add_special = fields.boolean_or("add_special_tokens", true);
  std::vector<Prompt> prompts;
  if (prompt->is_string()) {
    prompts.push_back(prompt_of_text(context, *prompt, add_special));
  } else if (prompt->is_array() && !prompt->empty()) {
    if (prompt->front().is_number()) {
      prompts.push_back(prompt_of_ids(context, *prompt));
    } else {
      for (const Json& entry : *prompt) {
        if (entry.is_string()) {
          prompts.push_back(prompt_of_text(context, entry, add_special));
        } else if (entry.is_array()) {
          prompts.push_back(prompt_of_ids(context, entry));
        } else {
          fail(ErrorCode::kInvalidArgument, "prompt holds {}; give texts or token ids",
               entry.type_name());
        }
      }
    }
  } else {
    fail(ErrorCode::kInvalidArgument, "prompt must be a text, token ids, or a list of either");
  }
  if (fields.has("truncate_prompt_tokens")) {
    const int64_t n = fields.integer("truncate_prompt_tokens", 1, context.session.ctx);
    for (Prompt& each : prompts) truncate_left(each, n);
  }
  return prompts;
}

Prompt parse_chat(const RequestContext& context, const Json& body, ToolUse& tools) {
  const ChatTemplate chat_template = template_for(context, body, tools);
  const std::vector<ChatMessage> messages = parse_chat_messages(messages_of(body));
  const Tokenizer& tokenizer = context.engine.tokenizer();
  Prompt prompt = with_texts(messages, [&](const std::vector<ChatMessage>& given) {
    return chat_prompt(tokenizer, chat_template, given);
  });
  begin_answer(tokenizer, prompt, tools.begun);
  return prompt;
}

std::string render_chat(const RequestContext& context, const Json& body) {
  ToolUse tools;
  const ChatTemplate chat_template = template_for(context, body, tools);
  return with_texts(parse_chat_messages(messages_of(body)),
                    [&](const std::vector<ChatMessage>& messages) {
                      std::string text;
                      for (const ChatPiece& piece : chat_template.render(messages, true)) {
                        text += piece.text;
                      }
                      return text;
                    });
}

}  // namespace chunkllm::serve
