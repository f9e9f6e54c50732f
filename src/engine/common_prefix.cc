#include "engine/common_prefix.h"

#include <algorithm>
#include <vector>

#include "base/error.h"

namespace chunkllm {
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

int64_t begin_prompt(Session& session, const Prompt& prompt) {
  session.check_fits(prompt.n_tokens());
  int64_t n_kept = common_prefix(prompt, session.tokens(), session.origins(), session.n_done(),
                                 session.options());
  // The last token runs in any case: its logits give the first of the answer.
  n_kept = std::min(n_kept, prompt.n_tokens() - 1);
  if (n_kept < session.n_tokens()) session.rewind(n_kept);
  const int64_t n_done = session.n_done();

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
  session.begin_prefill(std::span(prompt.ids).subspan(static_cast<size_t>(n_kept)), ends, answers);
  return n_done;
}

int64_t copy_prefix(const Session& from, const Prompt& prompt, Session& to) {
  if (from.n_done() < from.n_tokens() || from.options().kv_type != to.options().kv_type) {
    fail(ErrorCode::kInvalidArgument,
         "only a session that has run all its tokens can be copied, into one of its type");
  }
  const int64_t n_served =
      std::min(common_prefix(prompt, from.tokens(), from.origins(), from.n_done(), to.options()),
               prompt.n_tokens() - 1);
  const ModelConfig& config = from.engine().config();
  return to.restore(from.tokens(), from.origins(), from.policy().state(), n_served,
                    [&](KvCache& cache, int64_t n_tokens) {
                      std::vector<std::byte> space;
                      for (int64_t layer = 0; layer < config.n_layers; ++layer) {
                        for (const bool values : {false, true}) {
                          for (int64_t head = 0; head < config.n_kv_heads; ++head) {
                            cache.set_rows(layer, values, head,
                                           from.cache().rows(layer, values, head, n_tokens, space));
                          }
                        }
                      }
                    });
}

}  // namespace chunkllm
