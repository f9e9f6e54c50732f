// Sequences cut into chunks as policies cut them, before a dense pass looks at their attention.
#pragma once

#include <cstdint>
#include <optional>
#include <vector>

#include "base/cancel.h"
#include "engine/backbone.h"
#include "engine/engine.h"
#include "engine/prompt.h"
#include "select/chunk/chunk_track.h"
#include "select/settings.h"

namespace chunkllm {

struct ChunkedText {
  ChunkTrack chunks;               // of all layers, but for a grid first one
  std::optional<ChunkTrack> grid;  // of that one; only with an adapter that has it
};

// Cuts a prompt of the engine's model: with an adapter by its predictions, for which the first
// layer runs under the settings' budget; without one by the text itself, as `meankey` does.
// `backbone` must hold the prompt. A prompt without ends is one that goes on. Throws Error
// (kInterrupted).
ChunkedText cut_into_chunks(const Engine& engine, const SelectionSettings& settings,
                            const Prompt& prompt, Backbone& backbone, const CancelToken* cancel);

}  // namespace chunkllm
