// Runs the tests at the level that CHUNKLLM_ISA names. A level this machine lacks is skipped: the
// exit status kSkipped tells ctest so.
#include <gtest/gtest.h>

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <string_view>
#include <vector>

#include "base/threads.h"
#include "kernels/machine/isa.h"

namespace {

constexpr int kSkipped = 77;

bool holds(const std::vector<chunkllm::Isa>& levels, std::string_view name) {
  return std::ranges::find(levels, name, chunkllm::isa_name) != levels.end();
}

}  // namespace

int main(int argc, char** argv) {
  using chunkllm::Isa;
  testing::InitGoogleTest(&argc, argv);
  const char* variable = std::getenv("CHUNKLLM_ISA");
  const std::string_view level = variable == nullptr ? "" : variable;
  // A name that is no level at all is not skipped: the tests fail on it.
  const std::vector<Isa> all = {Isa::kScalar, Isa::kAvx2, Isa::kAvx512, Isa::kAvx512Bf16,
                                Isa::kAmx};
  if (holds(all, level) && !holds(chunkllm::machine_isas(), level)) {
    std::printf("skipped: this machine has no %s\n", variable);
    return kSkipped;
  }
  chunkllm::set_threads(std::max(2, chunkllm::usable_cores()));
  return RUN_ALL_TESTS();
}
