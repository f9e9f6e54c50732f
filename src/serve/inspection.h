// What clients ask about the server, its model and its tokenizer.
#pragma once

#include <filesystem>
#include <nlohmann/json.hpp>
#include <string>

#include "serve/request.h"
#include "serve/scheduler.h"

namespace chunkllm::serve {

// GET /v1/models, /props, /slots and /tokenizer_info.
nlohmann::ordered_json models_json(const RequestContext& context, Scheduler& scheduler);
nlohmann::ordered_json props_json(const RequestContext& context, Scheduler& scheduler);
nlohmann::ordered_json slots_json(const RequestContext& context, Scheduler& scheduler);
nlohmann::ordered_json tokenizer_json(const RequestContext& context, Scheduler& scheduler);

// POST /tokenize takes a text as vLLM ("prompt", "add_special_tokens" true by default) or llama.cpp
// ("content", "add_special" false) send it, or "messages"; /detokenize takes "tokens";
// /apply-template "messages". Throw Error for what cannot be used.
nlohmann::ordered_json tokenize(const RequestContext& context, const nlohmann::ordered_json& body);
nlohmann::ordered_json detokenize(const RequestContext& context,
                                  const nlohmann::ordered_json& body);
nlohmann::ordered_json apply_template(const RequestContext& context,
                                      const nlohmann::ordered_json& body);

// POST /slots/ID?action=save|restore|erase, with {"filename"}, a file in `folder`. `slot` is
// digits. Throws Error: kInvalidArgument for a slot that is not there or works, or a name that is
// no plain one; those of prompt caches, which name the file as the request does.
nlohmann::ordered_json act_on_slot(const RequestContext& context, Scheduler& scheduler,
                                   const std::string& slot, const std::string& action,
                                   const std::filesystem::path& folder,
                                   const nlohmann::ordered_json& body);

// Removes from the folder of saved slots what servers that were killed had half written.
void remove_half_saved_slots(const std::filesystem::path& folder);

}  // namespace chunkllm::serve
