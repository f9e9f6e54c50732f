// Runs the tests at the level that CHUNKLLM_ISA names. A level this machine lacks is skipped: the
// exit status kSkipped tells ctest so.
#include <gtest/gtest.h>

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <string_view>

#include "base/threads.h"
#include "kernels/machine/isa.h"

int main(int argc, char** argv) {
  constexpr int kSkipped = 77;
  testing::InitGoogleTest(&argc, argv);
  const char* variable = std::getenv("CHUNKLLM_ISA");
  const std::string_view level = variable == nullptr ? "" : variable;
  const auto holds = [level](const auto& names) {
    return std::ranges::find(names, level) != names.end();
  };
  // A name that is no level at all is not skipped: the tests fail on it.
  if (holds(chunkllm::isa_names()) && !holds(chunkllm::machine_isas())) {
    std::printf("skipped: this machine has no %s\n", variable);
    return kSkipped;
  }
  chunkllm::set_threads(std::max(2, chunkllm::usable_cores()));
  return RUN_ALL_TESTS();
}
