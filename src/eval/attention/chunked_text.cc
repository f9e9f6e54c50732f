#include "eval/attention/chunked_text.h"

#include <algorithm>

#include "select/chunk/chunk_policy.h"
#include "select/keys/mean_key_policy.h"

namespace chunkllm {
namespace {

// Tells a policy of what lies between the answers.
void announce(const Prompt& prompt, SelectionPolicy& policy) {
  const auto add = [&](Range positions) {
    if (positions.empty()) return;
    const auto first = std::ranges::lower_bound(prompt.ends, positions.begin);
    const auto last = std::ranges::lower_bound(prompt.ends, positions.end);
    policy.add_prompt(positions, {first, last});
  };
  int64_t begin = 0;
  for (const Range& answer : prompt.answers) {
    add({begin, answer.begin});
    begin = answer.end;
  }
  add({begin, prompt.n_tokens()});
}

}  // namespace

ChunkedText cut_into_chunks(const Engine& engine, const SelectionSettings& settings,
                            const Prompt& prompt, Backbone& backbone, const CancelToken* cancel) {
  const std::vector<int32_t> special_ids = engine.special_ids();
  ChunkedText text;
  if (engine.adapters().sentence == nullptr) {
    MeanKeyPolicy policy(engine.config(), settings, special_ids, engine.token_marks());
    announce(prompt, policy);
    policy.next_block(prompt.ids, prompt.n_tokens());
    text.chunks = policy.chunks();
    return text;
  }
  ChunkPolicy policy(*engine.adapters().sentence, settings, special_ids, engine.token_marks());
  announce(prompt, policy);
  backbone.run(prompt.ids, 1, policy, cancel);
  text.chunks = policy.sentences();
  if (engine.adapters().sentence->config.first_layer == FirstLayerKind::kGrid)
    text.grid = policy.grid();
  return text;
}

}  // namespace chunkllm
