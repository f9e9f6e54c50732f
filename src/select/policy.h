// Selection policies: what a sequence's tokens attend to, behind one interface. registry.h lists
// them.
#pragma once

#include <cstdint>
#include <map>
#include <span>
#include <string>
#include <vector>

#include "model/transformer.h"

namespace chunkllm {

// What a policy has computed for a sequence and cannot tell from its tokens: what a saved cache
// holds besides keys and values. Arrays under names that the policy chooses; a plain value, empty
// for policies that compute nothing.
struct PolicyState {
  std::map<std::string, std::vector<int64_t>> positions;
  std::map<std::string, std::vector<float>> floats;
};

// The state of one sequence under one policy. One thread at a time. Blocks must follow each other
// without gaps; truncate() goes back.
class SelectionPolicy : public RowSelector {
 public:
  // Announces that the tokens at `positions` belong to a prompt, with the prompt ends among them,
  // before they run. What a policy decides depends on tokens and prompt ends alone, not on blocks.
  virtual void add_prompt(Range /*positions*/, std::span<const int64_t> /*prompt_ends*/) {}

  // Goes back to the first `n_tokens` tokens, or to fewer where the state needs it: tokens from the
  // returned length on must be run again, announced as before.
  virtual int64_t truncate(int64_t n_tokens) = 0;

  // Copies what another policy made alike needs to go on from here. Throws Error (kUnsupported) if
  // the policy cannot be saved.
  virtual PolicyState state() const;
  // Takes over the state of a sequence of `tokens`, whose prompts were announced before; must be
  // followed by truncate(). Throws Error (kData) if no sequence of these tokens has that state,
  // (kUnsupported) as above.
  virtual void restore(std::span<const int32_t> tokens, const PolicyState& state);

  // Rows that the last token of the last block attended to in a layer.
  virtual int64_t rows_attended(int64_t layer) const = 0;

  virtual int64_t n_chunks() const { return 0; }
  virtual int64_t n_refreshes() const { return 0; }
  // Bytes that the policy itself keeps for the sequence.
  virtual int64_t size_bytes() const { return 0; }
};

}  // namespace chunkllm
