// How many threads the work is shared among.
#pragma once

namespace chunkllm {

// The cores that the affinity mask and the control group's CPU quota leave to this process; at
// least 1.
int usable_cores();

// Sets the number of threads that loops are shared among (base/thread_pool.h), the caller's own
// included. Any thread may call, but not while a loop runs.
void set_threads(int n_threads);

// That number; usable_cores() where none was set.
int current_threads();

}  // namespace chunkllm
