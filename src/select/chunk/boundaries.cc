#include "select/chunk/boundaries.h"

#include <algorithm>

namespace chunkllm {

ChunkRules::ChunkRules(const AdapterConfig& config, std::span<const int32_t> special_ids,
                       RefreshRule refresh)
    : fixed_chunk_(config.fixed_chunk),
      min_chunk_(config.min_chunk),
      max_chunk_(config.max_chunk),
      grid_(config.first_layer_tokens),
      special_ids_(special_ids.begin(), special_ids.end()),
      refresh_(refresh) {}

bool ChunkRules::is_special(int32_t token) const {
  return std::ranges::binary_search(special_ids_, token);
}

bool ChunkRules::refreshes(int64_t position, bool boundary, bool prompt_end) const {
  switch (refresh_.kind) {
    case RefreshKind::kPromptEnd:
      return boundary || prompt_end;
    case RefreshKind::kBoundary:
      return boundary;
    case RefreshKind::kEvery:
      return prompt_end || (position + 1) % refresh_.every == 0;
  }
  return boundary;
}

bool ChunkRules::ends_chunk(const ChunkTrack& track, int64_t position, int32_t token,
                            bool predicted) const {
  const int64_t open_tokens = position + 1 - track.open_begin();
  const bool seen =
      fixed_chunk_ > 0 ? open_tokens >= fixed_chunk_ : predicted && open_tokens >= min_chunk_;
  return seen || open_tokens >= max_chunk_ || is_special(token);
}

void ChunkRules::add(ChunkTrack& track, int64_t position, bool boundary, bool prompt_end) const {
  if (boundary) track.ends.push_back(position + 1);
  if (refreshes(position, boundary, prompt_end)) track.refreshes.push_back(position);
}

void ChunkRules::add_to_grid(ChunkTrack& track, int64_t position, int32_t token,
                             bool prompt_end) const {
  const bool grid_end = (position + 1) % grid_ == 0;
  if (grid_end) track.ends.push_back(position + 1);
  if (refreshes(position, grid_end || is_special(token), prompt_end)) {
    track.refreshes.push_back(position);
  }
}

}  // namespace chunkllm
