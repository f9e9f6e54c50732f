#include "base/threads.h"

#include <omp.h>
#include <sched.h>

#include <algorithm>
#include <cmath>
#include <fstream>
#include <string>

namespace chunkllm {

int usable_cores() {
  int cores = 1;
  cpu_set_t mask;
  CPU_ZERO(&mask);
  if (::sched_getaffinity(0, sizeof(mask), &mask) == 0) cores = std::max(1, CPU_COUNT(&mask));
  std::ifstream file("/sys/fs/cgroup/cpu.max");
  std::string quota;
  double period = 0;
  if (file >> quota >> period && quota != "max" && period > 0) {
    try {
      cores = std::clamp(static_cast<int>(std::lround(std::stod(quota) / period)), 1, cores);
    } catch (const std::exception&) {  // an unreadable quota is no quota
    }
  }
  return cores;
}

void set_threads(int n_threads) { omp_set_num_threads(n_threads); }

int current_threads() { return omp_get_max_threads(); }

}  // namespace chunkllm
