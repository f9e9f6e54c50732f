#include "base/thread_pool.h"

#include <linux/futex.h>
#include <pthread.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <climits>
#include <csignal>
#include <exception>
#include <mutex>
#include <system_error>
#include <thread>
#include <utility>
#include <vector>

#include "base/threads.h"

namespace chunkllm {
namespace {

using std::chrono::microseconds;

// How long a thread without work looks for the next loop before it sleeps: longer than the pauses
// between the loops of one pass, so that no loop of it has to wake anyone.
constexpr microseconds kSpinForWork{100};
// How long a caller looks for the end of pieces that others hold: longer than a piece takes on a
// core that is not shared.
constexpr microseconds kSpinForEnd{50};
// A caller that sleeps wakes this often, which leaves its core to a thread that waits for one.
constexpr microseconds kSleepForEnd{200};

static_assert(sizeof(std::atomic<uint32_t>) == sizeof(uint32_t));

// Sleeps while `word` is `value`, until woken; for `limit` at most, unless that is 0. May return
// early.
void futex_wait(std::atomic<uint32_t>& word, uint32_t value, microseconds limit = {}) {
  const timespec time{0, static_cast<long>(limit.count()) * 1000};
  ::syscall(SYS_futex, &word, FUTEX_WAIT_PRIVATE, value, limit.count() == 0 ? nullptr : &time,
            nullptr, 0);
}

void futex_wake_all(std::atomic<uint32_t>& word) {
  ::syscall(SYS_futex, &word, FUTEX_WAKE_PRIVATE, INT_MAX, nullptr, nullptr, 0);
}

// Tells the processor that the thread waits: its core's other one gets more of it.
void relax() {
#if defined(__x86_64__)
  __builtin_ia32_pause();
#elif defined(__aarch64__)
  __asm__ volatile("yield");
#endif
}

// Looks again and again until done() or the time is over; returns whether it was done.
template <typename Done>
bool spin_until(microseconds limit, const Done& done) {
  using Clock = std::chrono::steady_clock;
  if (done()) return true;
  if (limit.count() == 0) return false;
  const auto end = Clock::now() + limit;
  do {
    for (int i = 0; i < 16; ++i) {
      relax();
      if (done()) return true;
    }
  } while (Clock::now() < end);
  return false;
}

// Whether this thread runs a piece of a loop.
thread_local bool in_loop = false;

void run_alone(const ParallelLoop& loop) {
  for (int64_t begin = 0; begin < loop.n_items; begin += loop.grain) {
    loop.run(loop.body, begin, std::min(begin + loop.grain, loop.n_items), 0);
  }
}

// Threads that wait for loops. One loop at a time.
class Pool {
 public:
  // `n_threads` with the caller of run(). Where the system refuses threads there are fewer.
  explicit Pool(int n_threads) : spins_(n_threads <= usable_cores()), n_threads_(n_threads) {
    // Signals are the business of the threads that were there before.
    sigset_t all;
    sigset_t before;
    ::sigfillset(&all);
    ::pthread_sigmask(SIG_SETMASK, &all, &before);
    try {
      for (int i = 1; i < n_threads; ++i) threads_.emplace_back([this, i] { work(i); });
    } catch (const std::system_error&) {  // the pieces find other takers
    }
    ::pthread_sigmask(SIG_SETMASK, &before, nullptr);
  }

  ~Pool() {
    stops_.store(true);
    announce();
    for (std::thread& thread : threads_) thread.join();
  }

  Pool(const Pool&) = delete;
  Pool& operator=(const Pool&) = delete;

  int n_threads() const { return n_threads_; }

  void run(const ParallelLoop& loop) {
    loop_ = &loop;
    const int64_t n_pieces = (loop.n_items + loop.grain - 1) / loop.grain;
    n_open_.store(n_pieces);
    // Last: from here on pieces are claimed.
    n_unclaimed_.store(n_pieces);
    announce();
    finish(claim_pieces(0));
    wait_for_end();
    if (error_) std::rethrow_exception(std::exchange(error_, nullptr));
  }

 private:
  void announce() {
    // Even numbers count loops, the lowest bit tells of sleepers.
    const uint32_t before = news_.load(std::memory_order_relaxed);
    if ((news_.exchange((before | 1) + 1) & 1) != 0) futex_wake_all(news_);
  }

  // Runs pieces of the present loop until none is left to claim; returns how many.
  //
  // A claim needs no look at the loop, and the loop does not end before the claim is counted as
  // done: a thread that comes too late, however late, claims nothing or a piece of a later loop.
  int64_t claim_pieces(int thread) {
    int64_t n_done = 0;
    in_loop = true;
    while (n_unclaimed_.load(std::memory_order_relaxed) > 0) {
      const int64_t left = n_unclaimed_.fetch_sub(1);
      if (left <= 0) break;
      const ParallelLoop& loop = *loop_;
      const int64_t n_pieces = (loop.n_items + loop.grain - 1) / loop.grain;
      const int64_t begin = (n_pieces - left) * loop.grain;
      ++n_done;
      try {
        loop.run(loop.body, begin, std::min(begin + loop.grain, loop.n_items), thread);
      } catch (...) {
        {
          const std::lock_guard lock(error_mutex_);
          if (!error_) error_ = std::current_exception();
        }
        n_done += std::max<int64_t>(n_unclaimed_.exchange(0), 0);
      }
    }
    in_loop = false;
    return n_done;
  }

  // Counts claimed pieces as done.
  void finish(int64_t n_done) {
    if (n_done > 0 && n_open_.fetch_sub(n_done) == n_done && caller_sleeps_.load() != 0) {
      caller_sleeps_.store(0);
      futex_wake_all(caller_sleeps_);
    }
  }

  void wait_for_end() {
    const auto ended = [this] { return n_open_.load(std::memory_order_acquire) == 0; };
    while (!spin_until(spins_ ? kSpinForEnd : microseconds{}, ended)) {
      caller_sleeps_.store(1);
      if (n_open_.load() != 0) futex_wait(caller_sleeps_, 1, kSleepForEnd);
      caller_sleeps_.store(0);
    }
  }

  void work(int thread) {
    while (true) {
      const uint32_t seen = news_.load();  // first: what comes after it ends the sleep
      if (stops_.load()) return;
      finish(claim_pieces(thread));
      const auto has_news = [&] {
        return (news_.load(std::memory_order_relaxed) | 1) != (seen | 1);
      };
      if (spin_until(spins_ ? kSpinForWork : microseconds{}, has_news)) continue;
      uint32_t expected = seen & ~uint32_t{1};
      news_.compare_exchange_strong(expected, expected | 1);
      if ((expected | 1) == (seen | 1)) futex_wait(news_, seen | 1);
    }
  }

  const bool spins_;  // where each thread has a core
  const int n_threads_;
  const ParallelLoop* loop_ = nullptr;
  alignas(64) std::atomic<int64_t> n_unclaimed_ = 0;  // pieces; below 0 as well
  alignas(64) std::atomic<int64_t> n_open_ = 0;       // pieces that are not done
  std::atomic<uint32_t> caller_sleeps_ = 0;
  alignas(64) std::atomic<uint32_t> news_ = 0;
  std::atomic<bool> stops_ = false;
  std::mutex error_mutex_;
  std::exception_ptr error_;
  std::vector<std::thread> threads_;
};

// Guards the pool, which follows current_threads().
std::mutex pool_mutex;

// The last one is never destroyed: its threads sleep until the process ends, and a process that was
// forked from this one has none to wait for.
Pool& pool() {
  static Pool* pool = nullptr;
  const int n_threads = current_threads();
  if (pool == nullptr || pool->n_threads() != n_threads) {
    delete std::exchange(pool, nullptr);
    pool = new Pool(n_threads);
  }
  return *pool;
}

}  // namespace

void run_parallel(const ParallelLoop& loop) {
  if (loop.n_items <= 0) return;
  if (loop.n_items <= loop.grain || in_loop || current_threads() == 1) return run_alone(loop);
  const std::unique_lock lock(pool_mutex, std::try_to_lock);
  if (!lock) return run_alone(loop);
  pool().run(loop);
}

}  // namespace chunkllm
