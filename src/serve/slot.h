// A place for one sequence at a time, which stays when its answer is done.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <utility>

#include "base/timer.h"
#include "engine/answer.h"
#include "engine/session.h"
#include "serve/job.h"
#include "serve/metrics.h"

namespace chunkllm::serve {

// What keys, values and selections of a session depend on besides its tokens.
std::string selection_id(const SessionOptions& options);

// Holds a session and the job that it works on, and counts what ends in `metrics`, which must
// outlive it. One thread at a time.
class Slot {
 public:
  Slot(const Engine& engine, Metrics& metrics, std::shared_ptr<TransformerScratch> scratch,
       int64_t number)
      : engine_(engine), metrics_(metrics), scratch_(std::move(scratch)), number_(number) {}

  enum class State { kIdle, kReading, kWriting };
  State state() const { return state_; }
  bool is_idle() const { return state_ == State::kIdle; }
  int64_t number() const { return number_; }
  const Job* job() const { return job_.get(); }
  Clock::time_point last_used() const { return last_used_; }
  // Null before the first job, and after an error.
  Session* session() { return session_.get(); }
  const Session* session() const { return session_.get(); }
  // selection_id() of the session.
  const std::string& session_id() const { return session_id_; }
  int64_t n_tokens() const { return session_ ? session_->n_tokens() : 0; }
  // Whether the session has tokens that no call of note_saved() knew of.
  bool is_unsaved() const { return session_ != nullptr && !is_saved_; }
  void note_saved() { is_saved_ = true; }

  // Tokens of the job's prompt that need not run here; for a slot that is still reading, those that
  // will not have to. `id` is selection_id() of the job's session.
  int64_t n_shared(const Job& job, const std::string& id) const;

  // Takes the session out of an idle slot, or puts one into it in place of the one that is there.
  std::unique_ptr<Session> take_session() { return std::move(session_); }
  void put_session(std::unique_ptr<Session> session, std::string id);

  // Begins a job, whose prompt fits, in an idle slot: from what the slot holds, or from what
  // `source` does, another slot that is not reading.
  void begin(std::shared_ptr<Job> job, const Slot* source);
  // Runs one block of the prompt, of about so many tokens, and tells how far it is; chooses the
  // first token after the last block.
  void read_some(int64_t most_tokens);

  // Of a slot that is writing: the token that must run next.
  int32_t next_token() const { return *next_token_; }
  // The next token ran, and these logits follow it.
  void take(std::span<const float> logits);

  // Forgets the job, of which nobody wants to hear; what ran stays.
  void cancel();
  // Ends the job with an error. The session is lost if that came from it.
  void fail(ErrorCode code, const std::string& message, bool session_is_lost);
  void time_out();
  // Forgets all tokens.
  void erase() { session_.reset(); }

  // Makes an empty session with these options in place of the one that is there.
  Session& make_session(const SessionOptions& options);

 private:
  void score_some(int64_t most_tokens);
  void choose(std::span<const float> logits);
  void show_chunks();
  void finish(Event event);
  void release();
  JobCounts counts() const;

  const Engine& engine_;
  Metrics& metrics_;
  std::shared_ptr<TransformerScratch> scratch_;
  int64_t number_;
  State state_ = State::kIdle;
  std::string session_id_;
  bool is_saved_ = false;
  std::unique_ptr<Session> session_;
  std::shared_ptr<Job> job_;
  std::optional<Answer> answer_;
  std::optional<int32_t> next_token_;
  JobCounts counts_;
  PrefillCount prefill_before_;
  int64_t refreshes_before_ = 0;
  MissedMass missed_before_;
  Timer timer_;
  Clock::time_point last_used_ = {};
  Clock::time_point chunks_shown_ = {};
};

}  // namespace chunkllm::serve
