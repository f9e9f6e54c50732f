#include "engine/generate.h"

#include <algorithm>
#include <optional>

#include "base/error.h"
#include "base/timer.h"
#include "engine/answer.h"
#include "engine/common_prefix.h"
#include "engine/drafts.h"

namespace chunkllm {
namespace {

PrefillCount counted_since(const PrefillCount& before, const Session& session) {
  const PrefillCount& now = session.prefill_count();
  return {now.rows_attended - before.rows_attended, now.rows_visible - before.rows_visible};
}

// The answer's tokens in the session, and those behind them that only a draft has.
class Drafted {
 public:
  Drafted(Session& session, const GenerateOptions& options, GenerateResult& result)
      : session_(session), options_(options), result_(result) {
    if (options.drafts && session.options().policy->selects()) {
      fail(ErrorCode::kInvalidArgument, "drafts are for full attention; the policy is '{}'",
           session.options().policy->name);
    }
  }

  std::span<const float> logits() { return session_.logits(n_ahead_); }
  std::span<const int32_t> history() const {
    return session_.tokens().first(static_cast<size_t>(session_.n_tokens() - n_ahead_));
  }

  // The next token of the answer: it ran already if the draft has it, else the draft is dropped and
  // a pass runs the token with a new one.
  void take(int32_t token, const Sampler& sampler) {
    const int64_t n = session_.n_tokens() - n_ahead_;
    if (n_ahead_ > 0 && session_.tokens()[static_cast<size_t>(n)] == token) {
      --n_ahead_;
      ++count_->accepted_tokens;
      return;
    }
    drop();
    const Timer making;
    pass_.assign(1, token);
    if (options_.drafts) add_draft(sampler);
    making_seconds_ = making.seconds();
    const Timer checking;
    session_.decode(pass_);
    checking_seconds_ = checking.seconds();
    session_.count_pass(result_.retention);
    n_ahead_ = n_drafted_ = std::ssize(pass_) - 1;
    account_.add_pass(n_drafted_, making_seconds_, checking_seconds_);
    if (n_drafted_ > 0) {
      count_->drafted_tokens += n_drafted_;
    } else {
      pace_.report_plain();
    }
  }

  // Takes back what only the draft has.
  void drop() {
    if (n_drafted_ > 0) {
      const int64_t n_accepted = n_drafted_ - n_ahead_;
      account_.add_accepted(n_accepted);
      if (count_ == &result_.by_lookup) {
        lookup_.report(n_drafted_, n_accepted);
      } else {
        pace_.report(n_drafted_, n_accepted, making_seconds_, checking_seconds_);
        if (pace_.is_hopeless()) session_.stop_drafting();
      }
    }
    if (n_ahead_ > 0) session_.rewind(session_.n_tokens() - n_ahead_);
    n_ahead_ = n_drafted_ = 0;
  }

 private:
  // Guesses at what follows the pass's first token: what followed it in the text, or else what the
  // policy's choice makes of it.
  void add_draft(const Sampler& sampler) {
    // The pass itself gives a token more.
    const int64_t most = std::max<int64_t>(
        0, std::min({options_.max_tokens - result_.generated_tokens - 1,
                     session_.options().ctx - session_.n_tokens() - 1, most_drafted()}));
    const auto found =
        lookup_.next(history(), pass_.front(), std::min(most, account_.affordable(0)));
    if (!found.empty()) {
      count_ = &result_.by_lookup;
      pass_.insert(pass_.end(), found.begin(), found.end());
      return;
    }
    const int64_t n = pace_.next(most);
    if (n == 0 || !session_.can_draft()) return;
    count_ = &result_.by_policy;
    Sampler guess = sampler;  // by the random numbers that will choose
    std::vector<int32_t> before(history().begin(), history().end());
    before.push_back(pass_.front());
    for (int64_t i = 0; i < n; ++i) {
      const int32_t token = guess.sample(session_.draft(pass_), before);
      if (std::ranges::find(options_.eos_ids, token) != options_.eos_ids.end()) break;
      pass_.push_back(token);
      before.push_back(token);
    }
  }

  // So many that each token's logits are those of a pass of its own, bit for bit, where int8 inputs
  // meet quantised weights. Elsewhere they differ by rounding anyway.
  int64_t most_drafted() const {
    const int64_t as_alone = tokens_as_alone(session_.engine().precision());
    return (as_alone > 1 ? std::min(as_alone, kFewQueries) : kFewQueries) - 1;
  }

  Session& session_;
  const GenerateOptions& options_;
  GenerateResult& result_;
  LookupDrafts lookup_;
  DraftAccount account_;
  DraftPace pace_{account_};  // of what the policy drafts
  std::vector<int32_t> pass_;
  DraftCount* count_ = nullptr;  // of where the last draft came from
  double making_seconds_ = 0;    // the last pass's draft
  double checking_seconds_ = 0;  // the pass
  int64_t n_drafted_ = 0;        // of the last pass
  int64_t n_ahead_ = 0;          // of those, that no token has reached
};

// Tokens after those that the session holds, from the logits of the last one on.
void run_answer(Session& session, const Tokenizer& tokenizer, const GenerateOptions& options,
                const OnText& on_text, const CancelToken* cancel, GenerateResult& result) {
  Answer answer(tokenizer,
                {.max_tokens = options.max_tokens,
                 .sampling = options.sampling,
                 .eos_ids = options.eos_ids,
                 .stops = options.stops},
                static_cast<int32_t>(session.logits().size()));
  Drafted drafted(session, options, result);
  session.count_pass(result.retention);
  while (!answer.is_done()) {
    if (cancel != nullptr) cancel->check();
    const std::optional<int32_t> token = answer.next(drafted.logits(), drafted.history());
    result.generated_tokens = answer.n_generated();
    const std::string text = answer.take_text();
    result.text += text;
    if (on_text && !text.empty()) on_text(text);
    if (token) drafted.take(*token, answer.sampler());
  }
  drafted.drop();
  result.ids = answer.ids();
  result.finish_reason = answer.finish_reason();
}

}  // namespace

GenerateResult generate(Session& session, const Tokenizer& tokenizer,
                        std::span<const int32_t> prompt, std::span<const int64_t> prompt_ends,
                        const GenerateOptions& options, const OnText& on_text,
                        const Session::Progress& progress, const CancelToken* cancel) {
  GenerateResult result;
  result.prompt_tokens = static_cast<int64_t>(prompt.size());
  Timer timer;
  const PrefillCount before = session.prefill_count();
  session.prefill(prompt, prompt_ends, progress, cancel);
  result.prefill = counted_since(before, session);
  result.prefill_seconds = timer.seconds();
  timer = Timer();
  run_answer(session, tokenizer, options, on_text, cancel, result);
  result.decode_seconds = timer.seconds();
  return result;
}

GenerateResult generate(Session& session, const Tokenizer& tokenizer, const Prompt& prompt,
                        const GenerateOptions& options, const OnText& on_text,
                        const Session::Progress& progress, const CancelToken* cancel) {
  GenerateResult result;
  result.prompt_tokens = prompt.n_tokens();
  Timer timer;
  const PrefillCount before = session.prefill_count();
  result.cached_tokens = begin_prompt(session, prompt);
  session.run_waiting(progress, cancel);
  result.prefill = counted_since(before, session);
  result.prefill_seconds = timer.seconds();
  GenerateOptions answer = options;
  if (prompt.turn_end) {
    (options.ignores_turn_end ? answer.sampling.banned_ids : answer.eos_ids)
        .push_back(*prompt.turn_end);
  }
  timer = Timer();
  run_answer(session, tokenizer, answer, on_text, cancel, result);
  result.decode_seconds = timer.seconds();
  return result;
}

}  // namespace chunkllm
