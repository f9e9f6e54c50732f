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
  session.prefill(prompt, prompt_ends, progress, cancel);
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
  int64_t n_kept = common_prefix(prompt, session.tokens(), session.origins(), session.options());
  // The last token runs in any case: its logits give the first of the answer.
  n_kept = std::min(n_kept, prompt.n_tokens() - 1);
  if (n_kept < session.n_tokens()) n_kept = session.rewind(n_kept);
  result.cached_tokens = n_kept;

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

int64_t common_prefix(const Prompt& prompt, std::span<const int32_t> tokens,
                      std::span<const Session::Origin> origins, const SessionOptions& options) {
  using Origin = Session::Origin;
  const std::vector<Origin> wanted =
      Session::origins_of(prompt.n_tokens(), prompt.ends, prompt.answers);
  // Full attention is the same for all; selections differ by prompt ends where these refresh them;
  // and only a prefill in full treats answers unlike prompts.
  const bool by_origin =
      options.policy->reads(Setting::kPrefill) && options.selection.prefill == PrefillKind::kFull;
  const bool by_prompt_end = options.policy->reads(Setting::kRefresh);
  const auto same = [&](Origin a, Origin b) {
    if (by_origin) return a == b;
    return !by_prompt_end || (a == Origin::kPromptEnd) == (b == Origin::kPromptEnd);
  };
  const size_t n = std::min(wanted.size(), tokens.size());
  size_t i = 0;
  while (i < n && tokens[i] == prompt.ids[i] && same(origins[i], wanted[i])) ++i;
  return static_cast<int64_t>(i);
}

}  // namespace chunkllm
