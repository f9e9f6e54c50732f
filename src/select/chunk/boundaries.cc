#include "select/chunk/boundaries.h"

#include <algorithm>

#include "select/chunk/token_marks.h"

namespace chunkllm {

ChunkRules::ChunkRules(const AdapterConfig& config, std::span<const int32_t> special_ids,
                       RefreshRule refresh, std::span<const uint8_t> token_marks)
    : fixed_chunk_(config.fixed_chunk),
      min_chunk_(config.min_chunk),
      max_chunk_(config.max_chunk),
      grid_(config.first_layer_tokens),
      special_ids_(special_ids.begin(), special_ids.end()),
      refresh_(refresh),
      token_marks_(token_marks) {}

bool ChunkRules::is_special(int32_t token) const {
  return std::ranges::binary_search(special_ids_, token);
}

bool ChunkRules::has_mark(int32_t token, uint8_t mark) const {
  const auto i = static_cast<size_t>(token);
  return token >= 0 && i < token_marks_.size() && (token_marks_[i] & mark) != 0;
}

void ChunkRules::add_refresh(ChunkTrack& track, int64_t position, bool boundary,
                             TokenRole role) const {
  const bool prompt_end = role == TokenRole::kPromptEnd;
  bool refreshes = boundary;
  switch (refresh_.kind) {
    case RefreshKind::kAnswer:
      refreshes = boundary || role != TokenRole::kPrompt;
      break;
    case RefreshKind::kPromptEnd:
      refreshes = boundary || prompt_end;
      break;
    case RefreshKind::kBoundary:
      break;
    case RefreshKind::kEvery:
      refreshes = prompt_end || (position + 1) % refresh_.every == 0;
      boundary = false;
      break;
  }
  if (!refreshes) return;
  track.refreshes.push_back(position);
  track.closing.push_back(boundary ? 1 : 0);
}

bool ChunkRules::ends_chunk(const ChunkTrack& track, int64_t position, int32_t token,
                            bool predicted) const {
  const int64_t open_tokens = position + 1 - track.open_begin();
  const bool seen =
      fixed_chunk_ > 0 ? open_tokens >= fixed_chunk_ : predicted && open_tokens >= min_chunk_;
  return seen || open_tokens >= max_chunk_ || is_special(token);
}

std::optional<int64_t> ChunkRules::chunk_end(const ChunkTrack& track, std::span<const int32_t> open,
                                             bool predicted,
                                             std::optional<int64_t> prompt_begin) const {
  const int64_t begin = track.open_begin();
  const int64_t end = begin + std::ssize(open);
  if (!ends_chunk(track, end - 1, open.back(), predicted)) return std::nullopt;
  const bool forced =
      std::ssize(open) >= max_chunk_ && fixed_chunk_ == 0 && !predicted && !is_special(open.back());
  return forced && prompt_begin ? forced_end(begin, open, *prompt_begin) : end;
}

int64_t ChunkRules::forced_end(int64_t begin, std::span<const int32_t> open,
                               int64_t prompt_begin) const {
  const int64_t end = begin + std::ssize(open);
  const int64_t first = std::max(begin + max_chunk_ / 2, prompt_begin);
  const auto token = [&](int64_t t) { return open[static_cast<size_t>(t - begin)]; };
  for (const uint8_t mark : {kHoldsLineEnd, kEndsInPunctuation}) {
    for (int64_t t = end - 1; t >= first; --t) {
      if (has_mark(token(t), mark)) return t + 1;
    }
  }
  for (int64_t t = end - 2; t >= first; --t) {
    if (has_mark(token(t + 1), kBeginsWithSpace)) return t + 1;
  }
  return end;
}

int64_t ChunkRules::decided_at(Range chunk) const {
  const bool may_be_forced = fixed_chunk_ == 0 && chunk.size() > max_chunk_ / 2;
  return may_be_forced ? chunk.begin + max_chunk_ - 1 : chunk.end - 1;
}

void ChunkRules::add(ChunkTrack& track, int64_t position, bool boundary, TokenRole role) const {
  if (boundary) track.ends.push_back(position + 1);
  add_refresh(track, position, boundary, role);
}

void ChunkRules::add_end(ChunkTrack& track, int64_t end) const {
  track.ends.push_back(end);
  if (refresh_.kind != RefreshKind::kEvery) add_refresh(track, end - 1, true, TokenRole::kPrompt);
}

void ChunkRules::add_to_grid(ChunkTrack& track, int64_t position, int32_t token,
                             TokenRole role) const {
  const bool grid_end = (position + 1) % grid_ == 0;
  if (grid_end) track.ends.push_back(position + 1);
  add_refresh(track, position, grid_end || is_special(token), role);
}

void ChunkCutter::add(ChunkTrack& track, int64_t position, int32_t token, bool predicted,
                      std::optional<int64_t> prompt_begin, bool prompt_end) {
  open_.push_back(token);
  const std::optional<int64_t> end = rules_.chunk_end(track, open_, predicted, prompt_begin);
  const bool is_boundary = end == position + 1;
  if (end) {
    open_.erase(open_.begin(), open_.begin() + (*end - track.open_begin()));
    if (!is_boundary) rules_.add_end(track, *end);
  }
  rules_.add(track, position, is_boundary, role_of(prompt_begin.has_value(), prompt_end));
}

}  // namespace chunkllm
