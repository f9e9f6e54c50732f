// The policy `oracle`: the best that chunks could do, for measuring others by.
#pragma once

#include <vector>

#include "select/chunk/chunk_policy.h"
#include "select/teacher/token_mass.h"

namespace chunkllm {

// As ChunkPolicy, but that each refresh chooses the chunks that have most of its token's own
// attention, the mean over heads, instead of those that adapters score best. It reads every key at
// every refresh, so it saves no time. A refresh that lies before the block falls back on the
// scores: after a begin that was kept, and for prompt tokens that go on from the block before under
// `--prefill-selection previous` or `every:N`.
class OraclePolicy : public ChunkPolicy {
 public:
  using ChunkPolicy::ChunkPolicy;
  std::span<const AttentionSpan> rows(const LayerInput& input) override;
  // None: what it chose cannot be made again from the index.
  std::vector<ChosenChunk> chosen_at(int64_t) const override { return {}; }

 protected:
  Selection choose(const Candidates& candidates) override;

 private:
  const LayerInput* input_ = nullptr;  // during rows()
  TokenMass mass_;
};

}  // namespace chunkllm
