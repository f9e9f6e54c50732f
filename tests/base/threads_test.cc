#include "base/threads.h"

#include <gtest/gtest.h>
#include <sched.h>

namespace chunkllm {
namespace {

TEST(Threads, UsableCoresFollowTheAffinityMask) {
  cpu_set_t before;
  ASSERT_EQ(::sched_getaffinity(0, sizeof(before), &before), 0);
  EXPECT_GE(usable_cores(), 1);
  EXPECT_LE(usable_cores(), CPU_COUNT(&before));

  int first = 0;
  while (!CPU_ISSET(first, &before)) ++first;
  cpu_set_t one;
  CPU_ZERO(&one);
  CPU_SET(first, &one);
  ASSERT_EQ(::sched_setaffinity(0, sizeof(one), &one), 0);
  EXPECT_EQ(usable_cores(), 1);
  ASSERT_EQ(::sched_setaffinity(0, sizeof(before), &before), 0);
}

TEST(Threads, AreAsManyAsWasSaid) {
  const int before = current_threads();
  EXPECT_GE(before, 1);
  for (const int n : {1, 3}) {
    set_threads(n);
    EXPECT_EQ(current_threads(), n);
  }
  set_threads(before);
}

}  // namespace
}  // namespace chunkllm
