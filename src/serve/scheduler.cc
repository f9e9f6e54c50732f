#include "serve/scheduler.h"

#include <algorithm>
#include <new>

#include "base/atomic_file.h"
#include "base/memory.h"
#include "engine/session_memory.h"

namespace chunkllm::serve {
namespace {

// A prefix that another slot holds is copied, or waited for, if it saves so many tokens.
constexpr int64_t kLeastCopied = 64;
constexpr std::chrono::seconds kIdle{2};  // before what slots hold goes to files
constexpr const char* kOutOfMemory = "out of memory; use a smaller --ctx or --parallel";

ErrorCode code_of(const std::exception& error) {
  const auto* known = dynamic_cast<const Error*>(&error);
  return known != nullptr ? known->code() : ErrorCode::kMemory;
}

// Whatever goes wrong with a slot's work is an error of its job.
template <typename Action>
void run_guarded(Slot& slot, const Action& action) {
  try {
    action();
  } catch (const std::bad_alloc&) {
    slot.fail(ErrorCode::kMemory, kOutOfMemory, true);
  } catch (const std::exception& error) {
    slot.fail(code_of(error), error.what(), true);
  }
}

// Sequences take their room when they begin, and not all begin at once.
void require_disk(int64_t needed_bytes, const std::filesystem::path& folder) {
  make_writable_folder(folder);
  std::error_code error;
  const std::filesystem::space_info space = std::filesystem::space(folder, error);
  if (error || needed_bytes <= static_cast<int64_t>(space.available)) return;
  fail(ErrorCode::kIo,
       "the keys and values of all slots need {} in {}; {} available; use a smaller --ctx or "
       "--parallel, or another --kv-dir",
       format_bytes(needed_bytes), folder.string(),
       format_bytes(static_cast<int64_t>(space.available)));
}

// What all slots need, before anything of it is allocated.
const SchedulerOptions& checked(const Engine& engine, const SchedulerOptions& options) {
  require_session_memory(engine, options.session);
  const Adapter* adapter = adapter_for(*options.session.policy, engine.adapters());
  const int64_t slot_bytes =
      session_memory(engine.config(), adapter != nullptr ? &adapter->config : nullptr,
                     options.session)
          .total_bytes();
  require_memory(
      options.n_slots * slot_bytes + DecodeBatch::memory_bytes(engine.config(), options.n_slots),
      fmt::format("{} slots of {} tokens each", options.n_slots, options.session.ctx),
      "use a smaller --ctx or --parallel, --kv-type q8_0, or --kv-resident-mib");
  const KvStorage& storage = options.session.kv_storage;
  if (storage.in_file()) {
    require_disk(options.n_slots * options.session.ctx *
                     kv_bytes_per_position(engine.config(), options.session.kv_type),
                 storage.folder);
  }
  return options;
}

}  // namespace

Scheduler::Scheduler(const Engine& engine, const SchedulerOptions& options)
    : options_(checked(engine, options)),
      prefixes_(engine, options.prefixes),
      batch_(engine, options.n_slots, scratch_) {
  for (int64_t i = 0; i < options_.n_slots; ++i) {
    slots_.push_back(std::make_unique<Slot>(engine, metrics_, scratch_, i));
  }
  thread_ = std::thread([this] { run(); });
}

Scheduler::~Scheduler() {
  finish(std::chrono::milliseconds(0));
  thread_.join();
}

bool Scheduler::submit(const std::vector<std::shared_ptr<Job>>& jobs) {
  {
    const std::lock_guard lock(mutex_);
    if (is_ending_ ||
        std::ssize(queue_) + std::ssize(jobs) > options_.max_queued + options_.n_slots) {
      return false;
    }
    queue_.insert(queue_.end(), jobs.begin(), jobs.end());
    metrics_.jobs += std::ssize(jobs);
    metrics_.queued = std::ssize(queue_);
  }
  changed_.notify_all();
  return true;
}

void Scheduler::run_between_steps(
    const std::function<void(std::vector<std::unique_ptr<Slot>>&)>& action) {
  const auto command = std::make_shared<Command>();
  command->action = &action;
  std::unique_lock lock(mutex_);
  if (has_ended_) fail(ErrorCode::kInterrupted, "the server is ending");
  commands_.push_back(command);
  changed_.notify_all();
  changed_.wait(lock, [&] { return command->is_done; });
  if (command->error) std::rethrow_exception(command->error);
}

void Scheduler::finish(std::chrono::milliseconds patience) {
  {
    const std::lock_guard lock(mutex_);
    is_ending_ = true;
    end_ = Clock::now() + patience;
  }
  changed_.notify_all();
}

void Scheduler::wait_for_end() {
  std::unique_lock lock(mutex_);
  changed_.wait(lock, [&] { return has_ended_; });
}

bool Scheduler::has_work() const {
  return is_ending_ || !queue_.empty() || !commands_.empty() ||
         std::ranges::any_of(slots_, [](const auto& slot) { return !slot->is_idle(); });
}

void Scheduler::run() {
  while (true) {
    {
      std::unique_lock lock(mutex_);
      if (!changed_.wait_for(lock, kIdle, [&] { return has_work(); })) {
        if (has_unsaved_slot()) {
          lock.unlock();
          save_idle_slot();
          continue;
        }
        changed_.wait(lock, [&] { return has_work(); });
      }
      const bool all_done = queue_.empty() && std::ranges::all_of(slots_, [](const auto& slot) {
                              return slot->is_idle();
                            });
      if (is_ending_ && (all_done || Clock::now() >= *end_)) break;
    }
    run_commands();
    sweep();
    admit_jobs();
    read_step();
    write_step();
    publish();
  }
  end_all();
}

bool Scheduler::has_unsaved_slot() const {
  return prefixes_.keeps_files() &&
         std::ranges::any_of(slots_, [](const auto& slot) { return slot->is_unsaved(); });
}

// One at a time, so that who asks meanwhile does not wait long.
void Scheduler::save_idle_slot() {
  for (const auto& slot : slots_) {
    if (!slot->is_unsaved()) continue;
    slot->note_saved();
    if (!prefixes_.save(*slot->session(), slot->session_id())) ++metrics_.failed_saves;
    return;
  }
}

void Scheduler::end_all() {
  for (const auto& slot : slots_) {
    if (!slot->is_idle()) slot->fail(ErrorCode::kInterrupted, "the server is ending", false);
  }
  {
    const std::lock_guard lock(mutex_);
    for (const auto& job : queue_) {
      job->mailbox->push({.kind = Event::Kind::kFailed,
                          .job = job->index,
                          .code = ErrorCode::kInterrupted,
                          .message = "the server is ending"});
    }
    queue_.clear();
    has_ended_ = true;
  }
  changed_.notify_all();
  run_commands();
  while (has_unsaved_slot()) save_idle_slot();
  prefixes_.save_parked();
}

void Scheduler::run_commands() {
  while (true) {
    std::shared_ptr<Command> command;
    {
      const std::lock_guard lock(mutex_);
      if (commands_.empty()) return;
      command = commands_.front();
      commands_.pop_front();
    }
    try {
      (*command->action)(slots_);
    } catch (...) {
      command->error = std::current_exception();
    }
    {
      const std::lock_guard lock(mutex_);
      command->is_done = true;
    }
    changed_.notify_all();
  }
}

void Scheduler::sweep() {
  const auto has_passed = [now = Clock::now()](const Job& job) {
    return job.deadline && now >= *job.deadline;
  };
  for (const auto& slot : slots_) {
    if (slot->is_idle()) continue;
    if (slot->job()->is_cancelled) {
      slot->cancel();
    } else if (has_passed(*slot->job())) {
      slot->time_out();
    }
  }
  const std::lock_guard lock(mutex_);
  std::erase_if(queue_, [&](const std::shared_ptr<Job>& job) {
    if (job->is_cancelled) {
      ++metrics_.cancelled_jobs;
      return true;
    }
    if (!has_passed(*job)) return false;
    ++metrics_.failed_jobs;
    job->mailbox->push({.kind = Event::Kind::kFailed,
                        .job = job->index,
                        .message = "the time limit of the request has passed before it began",
                        .timed_out = true});
    return true;
  });
}

// In the order in which they came, but for those that wait for what another one is reading.
void Scheduler::admit_jobs() {
  std::deque<std::shared_ptr<Job>> waiting;
  {
    const std::lock_guard lock(mutex_);
    waiting = queue_;
  }
  std::vector<const Job*> admitted;
  for (const std::shared_ptr<Job>& job : waiting) {
    if (std::ranges::none_of(slots_, [](const auto& slot) { return slot->is_idle(); })) break;
    if (admit(job)) admitted.push_back(job.get());
  }
  const std::lock_guard lock(mutex_);
  std::erase_if(queue_, [&](const std::shared_ptr<Job>& job) {
    return std::ranges::find(admitted, job.get()) != admitted.end();
  });
}

Scheduler::Place Scheduler::place_for(const Job& job) {
  const std::string id = selection_id(job.session);
  Slot* best = nullptr;          // idle, holds most of it
  Slot* oldest = nullptr;        // idle, with nothing or what was used longest ago
  const Slot* holder = nullptr;  // of all that are not reading, holds most
  int64_t most_idle = -1, most_held = 0, most_reading = 0;
  const auto age = [](const Slot& slot) {
    return slot.n_tokens() == 0 ? Clock::time_point() : slot.last_used();
  };
  for (const auto& slot : slots_) {
    const int64_t n = slot->n_shared(job, id);
    if (slot->state() == Slot::State::kReading) {
      most_reading = std::max(most_reading, n);
      continue;
    }
    if (n > most_held) {
      most_held = n;
      holder = slot.get();
    }
    if (!slot->is_idle()) continue;
    if (n > most_idle) {
      most_idle = n;
      best = slot.get();
    }
    if (oldest == nullptr || age(*slot) < age(*oldest)) oldest = slot.get();
  }
  const int64_t most_kept = prefixes_.n_shared(job, id);
  if (most_reading >= std::max({most_idle, most_held, most_kept}) + kLeastCopied) return {};
  const bool from_kept = most_kept >= std::max(most_idle, most_held) + kLeastCopied;
  const bool from_busy = !from_kept && most_held >= most_idle + kLeastCopied;
  // A slot whose text has little to do with the prompt is better left to those who come back to it.
  if (!from_kept && !from_busy && 2 * most_idle >= best->n_tokens()) return {best, nullptr};
  const std::string old_id = oldest->session_id();
  prefixes_.park(oldest->take_session(), old_id);
  if (from_kept) oldest->put_session(prefixes_.take(job, id, scratch_), id);
  return {oldest, from_busy ? holder : nullptr};
}

// False if the job has to wait for what another slot reads.
bool Scheduler::admit(const std::shared_ptr<Job>& job) {
  Place place;
  try {
    place = place_for(*job);
  } catch (const std::exception& error) {  // no memory for a session that was kept in a file
    ++metrics_.failed_jobs;
    job->mailbox->push({.kind = Event::Kind::kFailed,
                        .job = job->index,
                        .code = ErrorCode::kMemory,
                        .message = error.what()});
    return true;
  }
  if (place.slot == nullptr) return false;
  run_guarded(*place.slot, [&] { place.slot->begin(job, place.source); });
  return true;
}

void Scheduler::read_step() {
  const bool others_write = std::ranges::any_of(
      slots_, [](const auto& slot) { return slot->state() == Slot::State::kWriting; });
  for (size_t i = 0; i < slots_.size(); ++i) {
    Slot& slot = *slots_[(next_reader_ + i) % slots_.size()];
    if (slot.state() != Slot::State::kReading) continue;
    next_reader_ = (next_reader_ + i + 1) % slots_.size();
    run_guarded(slot, [&] {
      slot.read_some(others_write ? options_.block_tokens_beside : options_.block_tokens);
    });
    return;
  }
}

void Scheduler::write_step() {
  std::vector<Slot*> writing;
  std::vector<Session*> sessions;
  std::vector<int32_t> tokens;
  for (const auto& slot : slots_) {
    if (slot->state() != Slot::State::kWriting) continue;
    writing.push_back(slot.get());
    sessions.push_back(slot->session());
    tokens.push_back(slot->next_token());
  }
  if (writing.empty()) return;
  const Timer timer;
  try {
    batch_.decode(sessions, tokens);
  } catch (const std::exception& error) {
    for (Slot* slot : writing) slot->fail(code_of(error), error.what(), true);
    return;
  }
  metrics_.decode_seconds += timer.seconds();
  for (size_t i = 0; i < writing.size(); ++i) {
    run_guarded(*writing[i], [&] { writing[i]->take(batch_.logits(static_cast<int64_t>(i))); });
  }
}

void Scheduler::publish() {
  int64_t n_reading = 0, n_writing = 0, n_bytes = 0, n_resident = 0;
  for (const auto& slot : slots_) {
    n_reading += slot->state() == Slot::State::kReading ? 1 : 0;
    n_writing += slot->state() == Slot::State::kWriting ? 1 : 0;
    if (slot->session() == nullptr) continue;
    n_bytes += slot->session()->kv_bytes_stored();
    n_resident += slot->session()->kv_bytes_resident();
  }
  metrics_.reading = n_reading;
  metrics_.writing = n_writing;
  metrics_.kv_bytes_stored = n_bytes;
  metrics_.kv_bytes_resident = n_resident;
  metrics_.kv_bytes_parked = prefixes_.memory_bytes();
  metrics_.kv_bytes_on_disk = prefixes_.disk_bytes();
  const std::lock_guard lock(mutex_);
  metrics_.queued = std::ssize(queue_);
}

}  // namespace chunkllm::serve
