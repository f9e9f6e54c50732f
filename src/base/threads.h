// How many threads the work is shared among.
#pragma once

namespace chunkllm {

// The cores that the affinity mask and the control group's CPU quota leave to this process; at
// least 1.
int usable_cores();

// Sets the number of threads that OpenMP and everything built on it use from the calling thread.
// Call it once, before any model is loaded.
void set_threads(int n_threads);

// The number of threads that parallel work started here would use.
int current_threads();

}  // namespace chunkllm
