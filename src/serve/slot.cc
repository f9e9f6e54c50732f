#include "serve/slot.h"

#include <algorithm>
#include <vector>

#include "engine/common_prefix.h"

namespace chunkllm::serve {

std::string selection_id(const SessionOptions& options) {
  std::string id(options.policy->name);
  for (const SettingEntry& entry : setting_entries()) {
    if (options.policy->reads(entry.setting)) id += "|" + entry.get(options.selection).dump();
  }
  return id;
}

int64_t Slot::n_shared(const Job& job, const std::string& id) const {
  if (!session_ || job.scores_prompt || session_id_ != id) return 0;
  return common_prefix(job.prompt, session_->tokens(), session_->origins(), session_->n_done(),
                       session_->options());
}

Session& Slot::make_session(const SessionOptions& options) {
  session_.reset();  // its memory first
  session_ = std::make_unique<Session>(engine_, options, scratch_);
  session_id_ = selection_id(options);
  return *session_;
}

void Slot::put_session(std::unique_ptr<Session> session, std::string id) {
  session_ = std::move(session);
  session_id_ = std::move(id);
  is_saved_ = false;
}

void Slot::begin(std::shared_ptr<Job> job, const Slot* source) {
  job_ = std::move(job);
  counts_ = {.prompt_tokens = job_->prompt.n_tokens(), .slot = number_};
  next_token_.reset();
  is_saved_ = false;
  chunks_shown_ = {};
  last_used_ = Clock::now();
  timer_ = Timer();
  if (!session_ || source != nullptr || session_id_ != selection_id(job_->session)) {
    make_session(job_->session);
  }
  answer_.emplace(engine_.tokenizer(), job_->answer,
                  static_cast<int32_t>(engine_.config().n_vocab));
  state_ = State::kReading;
  if (source != nullptr) copy_prefix(*source->session_, job_->prompt, *session_);
  if (session_->missed_mass() != nullptr) missed_before_ = session_->missed_mass()->all;
  prefill_before_ = session_->prefill_count();
  if (job_->scores_prompt) {
    session_->rewind(0);
  } else {
    counts_.cached_tokens = begin_prompt(*session_, job_->prompt);
  }
  refreshes_before_ = session_->policy().n_refreshes();  // what does not fit the prompt is gone
  job_->mailbox->push({.kind = Event::Kind::kProgress,
                       .job = job_->index,
                       .n_done = counts_.cached_tokens,
                       .counts = counts_});
}

void Slot::read_some(int64_t most_tokens) {
  last_used_ = Clock::now();
  if (job_->scores_prompt) {
    score_some(most_tokens);
  } else {
    session_->run_some_waiting(most_tokens);
  }
  counts_.prefill_seconds = timer_.seconds();
  job_->mailbox->push({.kind = Event::Kind::kProgress,
                       .job = job_->index,
                       .n_done = session_->n_done(),
                       .counts = counts_});
  if (session_->n_done() < counts_.prompt_tokens) return;
  const PrefillCount& now = session_->prefill_count();
  counts_.prefill_retention = PrefillCount{now.rows_attended - prefill_before_.rows_attended,
                                           now.rows_visible - prefill_before_.rows_visible}
                                  .retention();
  timer_ = Timer();
  state_ = State::kWriting;
  if (answer_->is_done()) {  // nothing is wanted but the prompt
    finish({.kind = Event::Kind::kDone, .job = job_->index});
    return;
  }
  choose(session_->logits());
}

// Runs some tokens of the prompt as text whose likelihood is wanted.
void Slot::score_some(int64_t most_tokens) {
  const std::vector<int32_t>& ids = job_->prompt.ids;
  const int64_t n_before = session_->n_tokens();
  const int64_t n = std::min(most_tokens, job_->prompt.n_tokens() - n_before);
  Event scored{.kind = Event::Kind::kPrompt, .job = job_->index};
  RetentionCount ignored;  // of tokens that are not generated
  session_->score(
      std::span(ids).subspan(static_cast<size_t>(n_before), static_cast<size_t>(n)), n_before,
      [&](Range positions, std::span<const float> logits) {
        const auto n_vocab = static_cast<int64_t>(logits.size()) / positions.size();
        for (int64_t t = positions.begin; t < positions.end; ++t) {
          if (t + 1 >= job_->prompt.n_tokens()) break;
          const auto row = logits.subspan(static_cast<size_t>((t - positions.begin) * n_vocab),
                                          static_cast<size_t>(n_vocab));
          scored.tokens.push_back(token_choice(row, ids[static_cast<size_t>(t + 1)], job_->n_top));
        }
      },
      ignored);
  job_->mailbox->push(std::move(scored));
}

// At the prompt's end and then twice a second: each token of an answer may choose anew.
void Slot::show_chunks() {
  constexpr std::chrono::milliseconds kPause{500};
  if (!job_->shows_chunks || Clock::now() - chunks_shown_ < kPause) return;
  const SelectionPolicy& policy = session_->policy();
  const int64_t n = session_->n_tokens();
  Event event{.kind = Event::Kind::kChunks,
              .job = job_->index,
              .n_done = n,
              .chunks = policy.chosen_at(n - 1)};
  if (chunks_shown_ == Clock::time_point{}) {
    for (int64_t i = 0; i < policy.n_chunks(); ++i) event.all_chunks.push_back(policy.chunk(i));
  }
  chunks_shown_ = Clock::now();
  job_->mailbox->push(std::move(event));
}

void Slot::take(std::span<const float> logits) {
  last_used_ = Clock::now();
  choose(logits);
}

void Slot::choose(std::span<const float> logits) {
  session_->count_pass(counts_.retention);
  show_chunks();
  next_token_ = answer_->next(logits, session_->tokens());
  Event event{.kind = Event::Kind::kText, .job = job_->index, .text = answer_->take_text()};
  const int32_t id = answer_->stop_token() ? *answer_->stop_token() : answer_->ids().back();
  if (job_->n_top >= 0) {
    event.tokens.push_back(token_choice(logits, id, job_->n_top));
  } else {
    event.tokens.push_back({.id = id});
  }
  if (answer_->is_done()) {
    finish(std::move(event));
  } else {
    job_->mailbox->push(std::move(event));
  }
}

JobCounts Slot::counts() const {
  JobCounts counts = counts_;
  counts.generated_tokens = answer_->n_generated();
  counts.decode_seconds = timer_.seconds();
  counts.chunks = session_->policy().n_chunks();
  counts.refreshes = session_->policy().n_refreshes() - refreshes_before_;
  return counts;
}

void Slot::finish(Event event) {
  event.kind = Event::Kind::kDone;
  event.finish_reason = answer_->finish_reason();
  event.stop_string = answer_->stop_string();
  event.stop_token = answer_->stop_token();
  event.counts = counts();
  metrics_.prompt_tokens += event.counts.prompt_tokens - event.counts.cached_tokens;
  metrics_.cached_tokens += event.counts.cached_tokens;
  metrics_.prefix_hits += event.counts.cached_tokens > 0 ? 1 : 0;
  metrics_.generated_tokens += event.counts.generated_tokens;
  metrics_.refreshes += event.counts.refreshes;
  if (const MissedMassReport* missed = session_->missed_mass()) {
    metrics_.missed_mass_samples += missed->all.n - missed_before_.n;
    metrics_.missed_mass_sum += missed->all.sum - missed_before_.sum;
  }
  metrics_.prefill_seconds += event.counts.prefill_seconds;
  metrics_.passes += event.counts.retention.n_passes;
  metrics_.retention_sum += event.counts.retention.retention_sum;
  metrics_.kv_bytes_attended_sum += event.counts.retention.bytes_attended_sum;
  job_->mailbox->push(std::move(event));
  release();
}

void Slot::cancel() {
  ++metrics_.cancelled_jobs;
  release();
}

void Slot::release() {
  state_ = State::kIdle;
  // A text that was scored serves no prompt.
  if (session_ && job_->scores_prompt) session_->rewind(0);
  job_.reset();
  answer_.reset();
  next_token_.reset();
  // What waits belongs to a prompt that nobody finishes.
  if (session_ && session_->n_done() < session_->n_tokens()) session_->rewind(session_->n_done());
}

void Slot::fail(ErrorCode code, const std::string& message, bool session_is_lost) {
  job_->mailbox->push(
      {.kind = Event::Kind::kFailed, .job = job_->index, .code = code, .message = message});
  ++metrics_.failed_jobs;
  if (session_is_lost) session_.reset();
  release();
}

void Slot::time_out() {
  job_->mailbox->push({.kind = Event::Kind::kFailed,
                       .job = job_->index,
                       .message = "the time limit of the request has passed",
                       .timed_out = true});
  ++metrics_.failed_jobs;
  release();
}

}  // namespace chunkllm::serve
