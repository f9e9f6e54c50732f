// Decides what runs next: one thread that owns all sessions, reads prompts block by block and
// writes one token of every answer in between.
#pragma once

#include <condition_variable>
#include <cstdint>
#include <deque>
#include <exception>
#include <functional>
#include <memory>
#include <mutex>
#include <optional>
#include <thread>
#include <vector>

#include "engine/decode_batch.h"
#include "serve/job.h"
#include "serve/metrics.h"
#include "serve/prefix_cache.h"
#include "serve/slot.h"

namespace chunkllm::serve {

struct SchedulerOptions {
  SessionOptions session;      // of all slots; requests may choose otherwise but for ctx and types
  int64_t n_slots = 4;         // sequences at a time
  int64_t max_queued = 128;    // jobs that wait beyond these
  int64_t block_tokens = 512;  // of a prompt between two looks at what else there is
  int64_t block_tokens_beside = 128;  // while others write
  PrefixCacheOptions prefixes;
};

// Any thread may call. The engine must outlive it.
class Scheduler {
 public:
  // Throws Error (kMemory) with the numbers if the machine has less than all slots need,
  // (kInvalidArgument).
  Scheduler(const Engine& engine, const SchedulerOptions& options);
  // Ends all jobs with an error.
  ~Scheduler();
  Scheduler(const Scheduler&) = delete;
  Scheduler& operator=(const Scheduler&) = delete;

  // Takes in jobs, all or none of them; false if the queue has no room for them or the end was
  // asked for.
  bool submit(const std::vector<std::shared_ptr<Job>>& jobs);

  // Runs `action` between two steps, on the thread that owns the slots, and returns when it is
  // done. Its exceptions leave this call. Throws Error (kInterrupted) after the end.
  void run_between_steps(const std::function<void(std::vector<std::unique_ptr<Slot>>&)>& action);

  // Takes in nothing more; what runs goes on for at most so long and is ended then.
  void finish(std::chrono::milliseconds patience);
  // Returns when all that ran has ended after finish().
  void wait_for_end();

  const Metrics& metrics() const { return metrics_; }
  const SchedulerOptions& options() const { return options_; }

 private:
  struct Command {
    const std::function<void(std::vector<std::unique_ptr<Slot>>&)>* action = nullptr;
    std::exception_ptr error;
    bool is_done = false;
  };

  void run();
  bool has_work() const;  // with the lock held
  void run_commands();
  // Drops jobs that nobody waits for, and those whose time has passed.
  void sweep();
  void admit_jobs();
  bool admit(const std::shared_ptr<Job>& job);
  // The best place for a job, prepared; null if another slot reads what it begins with, too.
  struct Place {
    Slot* slot = nullptr;
    const Slot* source = nullptr;  // another slot to copy from
  };
  Place place_for(const Job& job);
  void save_idle_slot();
  bool has_unsaved_slot() const;
  void read_step();
  void write_step();
  void publish();
  void end_all();

  SchedulerOptions options_;
  Metrics metrics_;
  std::vector<std::unique_ptr<Slot>> slots_;
  std::shared_ptr<TransformerScratch> scratch_ = std::make_shared<TransformerScratch>();
  PrefixCache prefixes_;
  DecodeBatch batch_;
  size_t next_reader_ = 0;  // slot whose turn it is

  std::mutex mutex_;
  std::condition_variable changed_;
  std::deque<std::shared_ptr<Job>> queue_;
  std::deque<std::shared_ptr<Command>> commands_;
  bool is_ending_ = false;
  std::optional<Clock::time_point> end_;  // of what still runs
  bool has_ended_ = false;
  std::thread thread_;
};

}  // namespace chunkllm::serve
