// Where in the prompt an answer comes from, as far as selections tell.
#pragma once

#include <nlohmann/json_fwd.hpp>

#include "engine/session.h"

namespace chunkllm::cli {

// The chunks that the upper layers chose most at the prompt end `position` (ChosenChunk), an array
// of {begin, end, text, layers, mass, usual_mass}: at most 8, those that half of the layers
// chose before the others, and by mass / usual_mass, for some chunks have mass whatever is asked.
nlohmann::ordered_json sources_at(const Session& session, int64_t position);

// The same as a table on stderr, a line a chunk.
void print_sources(const nlohmann::ordered_json& sources);

}  // namespace chunkllm::cli
