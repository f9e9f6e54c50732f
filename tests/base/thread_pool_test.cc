#include "base/thread_pool.h"

#include <gtest/gtest.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <condition_variable>
#include <mutex>
#include <numeric>
#include <set>
#include <stdexcept>
#include <thread>
#include <vector>

#include "base/threads.h"

namespace chunkllm {
namespace {

// Sets the number of threads for a test.
class ThreadPool : public testing::Test {
 protected:
  ~ThreadPool() override { set_threads(before_); }

 private:
  int before_ = current_threads();
};

// How often each item was run.
std::vector<int> counts(int64_t n_items, int64_t grain) {
  std::vector<std::atomic<int>> counts(static_cast<size_t>(n_items));
  parallel_for(n_items, grain, [&](int64_t begin, int64_t end, int thread) {
    EXPECT_LT(begin, end);
    EXPECT_EQ(begin % grain, 0);
    EXPECT_EQ(end, std::min(begin + grain, n_items));
    EXPECT_GE(thread, 0);
    EXPECT_LT(thread, current_threads());
    for (int64_t i = begin; i < end; ++i) ++counts[static_cast<size_t>(i)];
  });
  return {counts.begin(), counts.end()};
}

TEST_F(ThreadPool, RunsEachItemOnce) {
  for (const int n_threads : {1, 2, 3, 8}) {
    set_threads(n_threads);
    for (const int64_t n_items : {0, 1, 2, 7, 64, 1000}) {
      for (const int64_t grain : {1, 3, 64, 2000}) {
        const std::vector<int> all = counts(n_items, grain);
        EXPECT_EQ(std::ranges::count(all, 1), n_items) << n_threads << " threads, grain " << grain;
      }
    }
  }
}

TEST_F(ThreadPool, NegativeNumbersOfItemsAreNone) {
  parallel_for(-3, 1, [](int64_t, int64_t, int) { FAIL(); });
}

TEST_F(ThreadPool, ManyShortLoopsFollowEachOther) {
  for (const int n_threads : {2, 4}) {
    set_threads(n_threads);
    std::vector<int64_t> values(8);
    for (int64_t loop = 1; loop <= 20000; ++loop) {
      parallel_for(8, 1, [&](int64_t begin, int64_t, int) {
        values[static_cast<size_t>(begin)] += begin;  // what the loop before left
      });
      if (loop % 5000 == 0) std::this_thread::sleep_for(std::chrono::milliseconds(1));
    }
    for (int64_t i = 0; i < 8; ++i) EXPECT_EQ(values[static_cast<size_t>(i)], 20000 * i);
  }
}

TEST_F(ThreadPool, BodiesThatRunAtOnceHaveDifferentThreads) {
  set_threads(4);
  std::vector<std::atomic<int>> users(4);
  std::atomic<bool> shared = false;
  parallel_for(5000, 1, [&](int64_t, int64_t, int thread) {
    if (users[static_cast<size_t>(thread)].fetch_add(1) != 0) shared = true;
    users[static_cast<size_t>(thread)].fetch_sub(1);
  });
  EXPECT_FALSE(shared);
}

TEST_F(ThreadPool, AllThreadsTakePart) {
  set_threads(3);
  std::mutex mutex;
  std::condition_variable all_here;
  std::set<int> threads;
  parallel_for(3, 1, [&](int64_t, int64_t, int thread) {  // each holds its piece until all do
    std::unique_lock lock(mutex);
    threads.insert(thread);
    all_here.notify_all();
    all_here.wait(lock, [&] { return threads.size() == 3; });
  });
  EXPECT_EQ(threads, (std::set<int>{0, 1, 2}));
}

TEST_F(ThreadPool, LoopsInsideLoopsRunOnTheirThread) {
  set_threads(4);
  std::vector<std::atomic<int>> counts(100);
  parallel_for(10, 1, [&](int64_t outer, int64_t, int) {
    const auto self = std::this_thread::get_id();
    parallel_for(10, 3, [&](int64_t begin, int64_t end, int thread) {
      EXPECT_EQ(std::this_thread::get_id(), self);
      EXPECT_EQ(thread, 0);
      for (int64_t i = begin; i < end; ++i) ++counts[static_cast<size_t>(10 * outer + i)];
    });
  });
  EXPECT_TRUE(std::ranges::all_of(counts, [](const auto& n) { return n == 1; }));
}

TEST_F(ThreadPool, ExceptionsReachTheCallerAndEndTheLoop) {
  for (const int n_threads : {1, 4}) {
    set_threads(n_threads);
    for (int round = 0; round < 100; ++round) {
      std::atomic<int64_t> n_run = 0;
      const auto run = [&] {
        parallel_for(1'000'000, 1, [&](int64_t begin, int64_t, int) {
          ++n_run;
          if (begin == round) throw std::runtime_error("piece");
        });
      };
      EXPECT_THROW(run(), std::runtime_error);
      EXPECT_LT(n_run, 1'000'000);
    }
    EXPECT_EQ(counts(100, 7), std::vector<int>(100, 1));  // the pool is as good as new
  }
}

TEST_F(ThreadPool, ExceptionsOfAllPiecesAreOne) {
  set_threads(4);
  for (int round = 0; round < 100; ++round) {
    const auto run = [] {
      parallel_for(64, 1, [](int64_t, int64_t, int) { throw std::runtime_error("piece"); });
    };
    EXPECT_THROW(run(), std::runtime_error);
  }
}

TEST_F(ThreadPool, ServesSeveralCallersAtOnce) {
  set_threads(3);
  std::vector<std::thread> callers;
  std::vector<int64_t> wrong(4);
  for (size_t caller = 0; caller < wrong.size(); ++caller) {
    callers.emplace_back([&, caller] {
      for (int round = 0; round < 300; ++round) {
        const std::vector<int> all = counts(50 + round, 4);
        wrong[caller] += std::ranges::count_if(all, [](int n) { return n != 1; });
      }
    });
  }
  for (std::thread& caller : callers) caller.join();
  EXPECT_EQ(wrong, std::vector<int64_t>(4));
}

TEST_F(ThreadPool, FollowsTheNumberOfThreads) {
  for (int round = 0; round < 500; ++round) {
    for (const int n_threads : {4, 1, 2, 7, 3}) {
      set_threads(n_threads);
      EXPECT_EQ(counts(20, 10), std::vector<int>(20, 1));
    }
  }
}

TEST_F(ThreadPool, ALoopThatLastsKeepsNoOtherCallerWaiting) {
  set_threads(2);
  std::mutex mutex;
  std::condition_variable changed;
  int n_held = 0;
  bool free = false;
  std::thread holder([&] {
    parallel_for(2, 1, [&](int64_t, int64_t, int) {
      std::unique_lock lock(mutex);
      ++n_held;
      changed.notify_all();
      changed.wait(lock, [&] { return free; });
    });
  });
  {
    std::unique_lock lock(mutex);
    changed.wait(lock, [&] { return n_held == 2; });
  }
  EXPECT_EQ(counts(100, 1), std::vector<int>(100, 1));
  {
    const std::lock_guard lock(mutex);
    free = true;
  }
  changed.notify_all();
  holder.join();
}

TEST_F(ThreadPool, ThreadsAsleepAreWoken) {
  set_threads(2);
  for (int round = 0; round < 20; ++round) {
    std::this_thread::sleep_for(std::chrono::milliseconds(2));
    std::atomic<int> n_here = 0;
    parallel_for(2, 1, [&](int64_t, int64_t, int) {  // ends only if both come
      ++n_here;
      while (n_here != 2) std::this_thread::yield();
    });
  }
}

TEST_F(ThreadPool, AForkedProcessRunsItsLoopsAlone) {
  set_threads(3);
  counts(100, 1);
  const pid_t child = ::fork();
  if (child == 0) {
    int64_t sum = 0;
    parallel_for(100, 1, [&](int64_t begin, int64_t, int) { sum += begin; });
    ::_exit(sum == 4950 ? 0 : 1);
  }
  int status = 0;
  ASSERT_EQ(::waitpid(child, &status, 0), child);
  EXPECT_TRUE(WIFEXITED(status));
  EXPECT_EQ(WEXITSTATUS(status), 0);
}

}  // namespace
}  // namespace chunkllm
