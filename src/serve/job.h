// A prompt to be answered, and what whoever asked hears of it.
#pragma once

#include <atomic>
#include <chrono>
#include <condition_variable>
#include <cstdint>
#include <deque>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "base/error.h"
#include "engine/answer.h"
#include "engine/prompt.h"
#include "engine/session.h"

namespace chunkllm::serve {

using Clock = std::chrono::steady_clock;

// A token, and how likely the model held it and others.
struct TokenChoice {
  int32_t id = 0;
  double log_prob = 0;  // natural
  int64_t rank = 1;     // 1: none is likelier
  std::vector<std::pair<int32_t, double>> top =
      {};  // the likeliest, descending; ties to the lower id
};

// The choice of `id` by these logits, with the n_top likeliest. `id` may lie outside of those.
TokenChoice token_choice(std::span<const float> logits, int32_t id, int64_t n_top);

struct JobCounts {
  int64_t prompt_tokens = 0;
  int64_t cached_tokens = 0;     // of the prompt, that did not run
  int64_t generated_tokens = 0;  // the one that ended the answer included
  double prefill_seconds = 0;    // from the first block to the first token
  double decode_seconds = 0;
  RetentionCount retention = {};
  double prefill_retention = 1.0;
  int64_t chunks = 0;
  int64_t refreshes = 0;
  int64_t slot = 0;
};

// What happened to a job. Events of a job come in order; the last one is kDone or kFailed.
struct Event {
  enum class Kind {
    kProgress,  // `counts` has cached_tokens and prompt_tokens, n_done how many are done
    kPrompt,    // scored tokens of the prompt, a piece of them: `tokens`
    kChunks,    // what the upper layers attend to now: `chunks`, of n_done tokens
    kText,      // a token was chosen: `tokens` has it, `text` what became complete, perhaps nothing
    kDone,      // finish_reason, stop, counts; `text` and `tokens` as kText's
    kFailed,    // code and message
  };
  Kind kind = Kind::kText;
  size_t job = 0;  // Job::index
  std::string text = {};
  std::vector<TokenChoice> tokens = {};
  int64_t n_done = 0;
  std::vector<ChosenChunk> chunks = {};
  std::vector<Range> all_chunks = {};  // the first time
  JobCounts counts = {};
  std::string finish_reason = {};  // "stop" or "length"
  std::optional<std::string> stop_string = {};
  std::optional<int32_t> stop_token = {};
  ErrorCode code = ErrorCode::kInvalidArgument;
  std::string message = {};
  bool timed_out = false;  // kFailed: the time limit passed
};

// Events on their way from the scheduler to one reader. Any thread may call.
class Mailbox {
 public:
  void push(Event event);
  // The next one; nothing if none came within that time.
  std::optional<Event> wait(std::chrono::milliseconds time);

 private:
  std::mutex mutex_;
  std::condition_variable arrived_;
  std::deque<Event> events_;
};

struct Job {
  size_t index = 0;  // among the jobs of one request
  Prompt prompt;
  AnswerOptions answer;
  SessionOptions session;
  int64_t n_top = -1;  // log-probabilities of so many likeliest tokens beside each; -1: none
  bool scores_prompt = false;  // those of the prompt's tokens, too: it is read as a generated text
  bool shows_chunks = false;   // tells of chosen chunks now and then
  std::optional<Clock::time_point> deadline;
  std::shared_ptr<Mailbox> mailbox;
  std::atomic<bool> is_cancelled{false};  // nobody waits any more
};

}  // namespace chunkllm::serve
