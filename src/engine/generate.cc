#include "engine/generate.h"

#include <algorithm>

#include "base/timer.h"
#include "engine/stop_strings.h"

namespace chunkllm {
namespace {

// Rows of the model that no token of the tokenizer has, as those that pad a vocabulary: they are no
// text. One that ends answers may be among them.
std::vector<int32_t> ids_without_token(const Tokenizer& tokenizer, int32_t n_vocab,
                                       const std::vector<int32_t>& eos_ids) {
  std::vector<int32_t> ids;
  for (int32_t id = 0; id < n_vocab; ++id) {
    if (!tokenizer.has_token(id) && std::ranges::find(eos_ids, id) == eos_ids.end()) {
      ids.push_back(id);
    }
  }
  return ids;
}

PrefillCount counted_since(const PrefillCount& before, const Session& session) {
  const PrefillCount& now = session.prefill_count();
  return {now.rows_attended - before.rows_attended, now.rows_visible - before.rows_visible};
}

// Tokens after those that the session holds, from the logits of the last one on.
void run_answer(Session& session, const Tokenizer& tokenizer, const GenerateOptions& options,
                const OnText& on_text, const CancelToken* cancel, GenerateResult& result) {
  result.finish_reason = "length";
  const auto n_logits = static_cast<int32_t>(session.logits().size());
  SamplingOptions sampling = options.sampling;
  const std::vector<int32_t> tokenless = ids_without_token(tokenizer, n_logits, options.eos_ids);
  sampling.banned_ids.insert(sampling.banned_ids.end(), tokenless.begin(), tokenless.end());
  Sampler sampler(sampling);
  StreamDecoder decoder(tokenizer);
  StopStrings stops(options.stops);
  const auto give = [&](const std::string& text) {
    result.text += text;
    if (on_text && !text.empty()) on_text(text);
  };
  while (result.generated_tokens < options.max_tokens) {
    if (cancel != nullptr) cancel->check();
    session.count_pass(result.retention);
    const int32_t token = sampler.sample(session.logits(), session.tokens());
    ++result.generated_tokens;
    if (std::ranges::find(options.eos_ids, token) != options.eos_ids.end()) {
      result.finish_reason = "stop";
      break;
    }
    result.ids.push_back(token);
    give(stops.push(decoder.push(token)));
    if (stops.stopped()) break;
    if (result.generated_tokens < options.max_tokens) session.decode(token);
  }
  if (!stops.stopped()) give(stops.push(decoder.finish()));
  if (stops.stopped()) result.finish_reason = "stop";
  give(stops.finish());
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
  session.check_fits(prompt.n_tokens());
  GenerateResult result;
  result.prompt_tokens = prompt.n_tokens();
  Timer timer;
  int64_t n_kept = common_prefix(prompt, session.tokens(), session.origins(), session.n_done(),
                                 session.options());
  // The last token runs in any case: its logits give the first of the answer.
  n_kept = std::min(n_kept, prompt.n_tokens() - 1);
  if (n_kept < session.n_tokens()) session.rewind(n_kept);
  result.cached_tokens = session.n_done();
  const PrefillCount before = session.prefill_count();

  std::vector<int64_t> ends;
  for (const int64_t end : prompt.ends) {
    if (end >= n_kept) ends.push_back(end - n_kept);
  }
  std::vector<Range> answers;
  for (const Range& answer : prompt.answers) {
    if (answer.end > n_kept) {
      answers.push_back({std::max<int64_t>(answer.begin - n_kept, 0), answer.end - n_kept});
    }
  }
  session.prefill(std::span(prompt.ids).subspan(static_cast<size_t>(n_kept)), ends, progress,
                  cancel, answers);
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

namespace {

// Which tokens attend to everything because a prompt ends soon.
std::vector<bool> tails_of(std::span<const Session::Origin> origins,
                           const SelectionSettings& settings) {
  std::vector<bool> in_tail(origins.size(), false);
  if (settings.prefill == PrefillKind::kFull) return in_tail;  // all others do, too
  int64_t begin = 0;                                           // of the prompt
  for (int64_t t = 0; t < std::ssize(origins); ++t) {
    const Session::Origin origin = origins[static_cast<size_t>(t)];
    if (origin == Session::Origin::kPrompt) continue;
    if (origin == Session::Origin::kPromptEnd) {
      std::fill(in_tail.begin() + std::max(begin, t - settings.prompt_tail), in_tail.begin() + t,
                true);
    }
    begin = t + 1;
  }
  return in_tail;
}

}  // namespace

int64_t common_prefix(const Prompt& prompt, std::span<const int32_t> tokens,
                      std::span<const Session::Origin> origins, int64_t n_done,
                      const SessionOptions& options) {
  const std::vector<Session::Origin> wanted =
      Session::origins_of(prompt.n_tokens(), prompt.ends, prompt.answers);
  // Full attention is the same for all.
  const bool by_origin = options.policy->reads(Setting::kPrefill);
  const std::vector<bool> tails = tails_of(origins, options.selection);
  const std::vector<bool> wanted_tails = tails_of(wanted, options.selection);
  const auto serves = [&](size_t i) {
    if (tokens[i] != prompt.ids[i]) return false;
    if (!by_origin) return true;
    const bool ran = static_cast<int64_t>(i) < n_done;
    return origins[i] == wanted[i] && (!ran || tails[i] == wanted_tails[i]);
  };
  const size_t n = std::min(wanted.size(), tokens.size());
  size_t i = 0;
  while (i < n && serves(i)) ++i;
  return static_cast<int64_t>(i);
}

}  // namespace chunkllm
