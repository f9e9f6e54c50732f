// How the panels of a packed matrix are shared among threads where one vector, or a few, is
// multiplied and memory sets the pace.
#pragma once

#include <algorithm>
#include <cstdint>

#include "base/thread_pool.h"
#include "base/threads.h"

namespace chunkllm {

// Calls work(p) for every panel below n_panels, of panel_bytes each; on all threads where the
// matrix is large enough for that to pay.
//
// Threads take runs of panels as they become free, since the cores of a machine may differ in speed
// or be lent to others for a moment; a run is long enough for memory to be read in sequence.
template <typename Work>
void for_each_panel(int64_t n_panels, int64_t panel_bytes, const Work& work) {
  // Smaller matrices are read sooner by one thread than a team is woken.
  constexpr int64_t kMinParallelBytes = 160 * 1024;
  constexpr int64_t kRunBytes = 256 * 1024;
  constexpr int64_t kRunsPerThread = 4;
  const int64_t run = n_panels * panel_bytes < kMinParallelBytes
                          ? n_panels
                          : std::clamp<int64_t>(n_panels / (kRunsPerThread * current_threads()), 1,
                                                std::max<int64_t>(kRunBytes / panel_bytes, 1));
  parallel_for(n_panels, run, [&](int64_t begin, int64_t end, int) {
    for (int64_t p = begin; p < end; ++p) work(p);
  });
}

}  // namespace chunkllm
