#include "base/threads.h"

#include <sched.h>

#include <algorithm>
#include <atomic>
#include <cmath>
#include <fstream>
#include <string>

namespace chunkllm {
namespace {

std::atomic<int> threads = 0;  // 0: as many as there are cores

}  // namespace

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

void set_threads(int n_threads) { threads = std::max(1, n_threads); }

int current_threads() {
  const int n_threads = threads;
  if (n_threads > 0) return n_threads;
  static const int n_cores = usable_cores();
  return n_cores;
}

}  // namespace chunkllm
