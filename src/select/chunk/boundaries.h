// Where chunks end and selections are renewed: one definition for inference and training.
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <vector>

#include "select/chunk/adapter.h"
#include "select/chunk/chunk_track.h"
#include "select/settings.h"

namespace chunkllm {

// How a token came into its sequence.
enum class TokenRole { kPrompt, kPromptEnd, kGenerated };

inline TokenRole role_of(bool in_prompt, bool prompt_end) {
  if (!in_prompt) return TokenRole::kGenerated;
  return prompt_end ? TokenRole::kPromptEnd : TokenRole::kPrompt;
}

// When selections are renewed.
struct RefreshRule {
  RefreshKind kind = RefreshKind::kAnswer;
  int64_t every = 0;  // tokens, for RefreshKind::kEvery
};

// Fills the tracks of a sequence token by token. Immutable.
class ChunkRules {
 public:
  // `special_ids`, ascending, end chunks. `token_marks` (token_marks.h), by token id, must outlive
  // the rules; without them, and for ids beyond, tokens have none.
  ChunkRules(const AdapterConfig& config, std::span<const int32_t> special_ids,
             RefreshRule refresh = {}, std::span<const uint8_t> token_marks = {});

  // Whether the token at `position` ends its chunk, `track` holding all before it: because it is
  // `predicted` (by the Chunk Adapter, or by a label) in a chunk of at least min_chunk tokens, or
  // special, or because the chunk is as long as a chunk may be. Fixed chunks end by length instead
  // of predictions.
  bool ends_chunk(const ChunkTrack& track, int64_t position, int32_t token, bool predicted) const;

  // Where the open chunk ends now that its tokens up to the last of `open` are known; nothing if it
  // stays open. As ends_chunk() for the last token, but that a chunk which is as long as it may be
  // is cut at the best place in its second half among the tokens of the prompt that begins at
  // `prompt_begin`; where there is none (the token is a generated one), at its limit.
  std::optional<int64_t> chunk_end(const ChunkTrack& track, std::span<const int32_t> open,
                                   bool predicted, std::optional<int64_t> prompt_begin) const;

  // The position of the token at which it is known that a chunk ends where it does.
  int64_t decided_at(Range chunk) const;

  // Enters the next token of the layers after the first; `boundary` says whether it ends a chunk.
  void add(ChunkTrack& track, int64_t position, bool boundary, TokenRole role) const;
  // The same for a chunk that ended before the last token that was entered.
  void add_end(ChunkTrack& track, int64_t end) const;

  // Enters the next token of a grid first layer, whose ends are positions. It is refreshed at
  // special tokens, too, as if they ended chunks.
  void add_to_grid(ChunkTrack& track, int64_t position, int32_t token, TokenRole role) const;

 private:
  bool is_special(int32_t token) const;
  bool has_mark(int32_t token, uint8_t mark) const;
  int64_t forced_end(int64_t begin, std::span<const int32_t> open, int64_t prompt_begin) const;
  void add_refresh(ChunkTrack& track, int64_t position, bool boundary, TokenRole role) const;

  int64_t fixed_chunk_;
  int64_t min_chunk_;
  int64_t max_chunk_;
  int64_t grid_;
  std::vector<int32_t> special_ids_;
  RefreshRule refresh_;
  std::span<const uint8_t> token_marks_;
};

// Cuts a sequence into chunks, token by token: the rules and the tokens of the open chunk. Refers
// to rules, which must outlive it. One thread at a time.
class ChunkCutter {
 public:
  explicit ChunkCutter(const ChunkRules& rules) : rules_(rules) {}

  // Enters the token at `position`, the next one. `prompt_begin` is where the prompt begins that
  // holds it; nothing for a generated token.
  void add(ChunkTrack& track, int64_t position, int32_t token, bool predicted,
           std::optional<int64_t> prompt_begin, bool prompt_end);
  // The next token begins a chunk.
  void reset() { open_.clear(); }

 private:
  const ChunkRules& rules_;
  std::vector<int32_t> open_;
};

}  // namespace chunkllm
