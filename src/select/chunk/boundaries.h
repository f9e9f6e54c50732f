// Where chunks end and selections are renewed: one definition for inference and training.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "select/chunk/adapter.h"
#include "select/chunk/chunk_track.h"
#include "select/settings.h"

namespace chunkllm {

// When selections are renewed.
struct RefreshRule {
  RefreshKind kind = RefreshKind::kPromptEnd;
  int64_t every = 0;  // tokens, for RefreshKind::kEvery
};

// Fills the tracks of a sequence token by token. Immutable.
class ChunkRules {
 public:
  // `special_ids`, ascending, end chunks.
  ChunkRules(const AdapterConfig& config, std::span<const int32_t> special_ids,
             RefreshRule refresh = {});

  // Whether the token at `position` ends its chunk, `track` holding all before it: because it is
  // `predicted` (by the Chunk Adapter, or by a label) in a chunk of at least min_chunk tokens, or
  // special, or because the chunk is as long as a chunk may be. Fixed chunks end by length instead
  // of predictions.
  bool ends_chunk(const ChunkTrack& track, int64_t position, int32_t token, bool predicted) const;

  // Enters the next token of the layers after the first; `boundary` says whether it ends a chunk.
  void add(ChunkTrack& track, int64_t position, bool boundary, bool prompt_end) const;

  // Enters the next token of a grid first layer, whose ends are positions. It is refreshed at
  // special tokens, too, as if they ended chunks.
  void add_to_grid(ChunkTrack& track, int64_t position, int32_t token, bool prompt_end) const;

 private:
  bool is_special(int32_t token) const;
  bool refreshes(int64_t position, bool boundary, bool prompt_end) const;

  int64_t fixed_chunk_;
  int64_t min_chunk_;
  int64_t max_chunk_;
  int64_t grid_;
  std::vector<int32_t> special_ids_;
  RefreshRule refresh_;
};

}  // namespace chunkllm
