// Where in the prompt an answer comes from, as far as selections tell.
#pragma once

#include <nlohmann/json_fwd.hpp>

#include "engine/prompt.h"
#include "engine/session.h"

namespace chunkllm::cli {

// The chunks that the upper layers chose most at the end of `prompt` (ChosenChunk), with which the
// session began: an array of {begin, end, text, layers, mass, usual_mass}. At most 8, those that
// half of the layers chose before the others, and by mass / usual_mass, for some chunks have mass
// whatever is asked. Chunks that hold nothing somebody wrote, but special tokens and text of the
// chat template, or nothing beyond the sink, are left out.
nlohmann::ordered_json sources_at(const Session& session, const Prompt& prompt);

// The same as a table on stderr, a line a chunk.
void print_sources(const nlohmann::ordered_json& sources);

}  // namespace chunkllm::cli
