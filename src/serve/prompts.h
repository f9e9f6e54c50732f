// The prompts of a request: texts, token ids, or a chat.
#pragma once

#include <nlohmann/json.hpp>
#include <vector>

#include "base/json.h"
#include "engine/prompt.h"
#include "serve/request.h"

namespace chunkllm::serve {

// `prompt`: a text, a list of texts, token ids, or a list of lists of them; ids stay as they are.
// Throws Error (kInvalidArgument, kData).
std::vector<Prompt> parse_prompts(const RequestContext& context, const nlohmann::ordered_json& body,
                                  const JsonFields& fields);

// `messages`, `tools` and what else the chat template is told. Throws Error.
Prompt parse_chat(const RequestContext& context, const nlohmann::ordered_json& body,
                  ToolUse& tools);

// The messages as the template writes them, with the marker after which the model answers.
std::string render_chat(const RequestContext& context, const nlohmann::ordered_json& body);

}  // namespace chunkllm::serve
