// Loops whose items the threads of the process share.
//
// One pool serves the process; its threads start with the first loop that wants them. A loop is cut
// into pieces that threads claim as they become free, the caller among them, and it is done when
// every piece is: it never waits for a thread that has claimed nothing. So a thread that the system
// took off its core delays a loop by the one piece it holds, and by nothing where it holds none.
// Pieces of 20 to 50 microseconds make that delay short and the claiming free.
//
// Which thread runs a piece is chance. Whoever wants the same result every time writes what a piece
// gives to a place of its own, and keeps no sums by thread.
#pragma once

#include <cstdint>

namespace chunkllm {

// What parallel_for() runs, without its type.
struct ParallelLoop {
  using Run = void (*)(const void* body, int64_t begin, int64_t end, int thread);

  int64_t n_items = 0;
  int64_t grain = 1;
  Run run = nullptr;
  const void* body = nullptr;
};
void run_parallel(const ParallelLoop& loop);

// Calls body(begin, end, thread) for parts [begin, end) of [0, n_items) that together hold each
// item once, `grain` items a part (the last may have fewer), and returns when all have returned.
// `thread` is below current_threads(), and no two bodies that run at once in one loop have the
// same: it may index work space that the caller owns. The caller's own is 0.
//
// Any thread may call. Inside a body, and while another thread's loop has the pool, all items run
// on the calling thread, still in parts of `grain`. If bodies throw, no further part is begun, and
// one of the exceptions leaves this call after all parts that were begun have ended.
template <typename Body>
void parallel_for(int64_t n_items, int64_t grain, const Body& body) {
  const auto run = [](const void* erased, int64_t begin, int64_t end, int thread) {
    (*static_cast<const Body*>(erased))(begin, end, thread);
  };
  run_parallel({n_items, grain, run, &body});
}

}  // namespace chunkllm
