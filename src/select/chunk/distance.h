// What a chunk's score says of how far away it is.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstdint>

#include "base/range.h"
#include "select/chunk/chunk_track.h"

namespace chunkllm {

// Adapters with a distance term weigh this by the last component of q^: -ln(d / 64), where `d` >= 1
// is how many tokens the chunk's last one lies before the query. Attention to what is near falls by
// a power of the distance, which keys without positions cannot say.
inline float distance_feature(int64_t d) {
  constexpr double kScale = 64.0;
  return static_cast<float>(-std::log(static_cast<double>(std::max<int64_t>(d, 1)) / kScale));
}

// The same for refreshes and chunks of a track by their numbers: out [n_refreshes, n_chunks].
inline void distance_features(const ChunkTrack& track, Range refreshes, Range chunks, float* out) {
  for (int64_t i = refreshes.begin; i < refreshes.end; ++i) {
    const int64_t position = track.refreshes[static_cast<size_t>(i)];
    for (int64_t j = chunks.begin; j < chunks.end; ++j) {
      *out++ = distance_feature(position + 1 - track.chunk(j).end);
    }
  }
}

// Tokens of the chunks with these numbers: out [n_chunks].
inline void chunk_lengths(const ChunkTrack& track, Range chunks, float* out) {
  for (int64_t j = chunks.begin; j < chunks.end; ++j) {
    *out++ = static_cast<float>(track.chunk(j).size());
  }
}

}  // namespace chunkllm
