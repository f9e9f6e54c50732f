// What the results of a batch depend on, kept with them, so that no run goes on with those of
// another.
#pragma once

#include <nlohmann/json.hpp>
#include <string>

#include "cli/completion.h"
#include "engine/prompt.h"

namespace chunkllm::cli {

// All that an answer depends on besides its prompt, under the names of the options that set it:
// the instruction set, too, and the number of threads unless all is float32, where it changes
// nothing. The engine's weights need not be loaded. Throws Error if its files cannot be read.
nlohmann::ordered_json batch_settings(const CompletionArgs& args, const Completer& completer);

// What differs between the settings of results that are there and those of now, in words; empty if
// nothing does.
std::string batch_difference(nlohmann::json before, nlohmann::ordered_json now);

// Of tokens, prompt ends and earlier answers: 16 hexadecimal digits.
std::string prompt_digest(const Prompt& prompt);

}  // namespace chunkllm::cli
