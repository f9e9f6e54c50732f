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

// What the blocks of a policy need, in tokens.
struct BlockNeeds {
  int64_t least_tokens = 1;    // that a block must have room for
  int64_t waiting_tokens = 0;  // most that wait behind the first layer (RowSelector::ready())
};

// What the upper layers made of a chunk at one position.
struct ChosenChunk {
  Range positions;
  double layers = 0;  // share of the layers looked at that chose it
  double mass = 0;    // of the softmax of scores over the eligible chunks, mean over those layers
  double usual_mass = 0;  // the same, mean over refreshes shortly before, of these chunks
};

// The state of one sequence under one policy. One thread at a time. The blocks are those that
// next_block() says; truncate() goes back.
class SelectionPolicy : public RowSelector {
 public:
  // Announces that the tokens at `positions` belong to prompts, with the prompt ends among them,
  // before they run; a prompt without an end is unfinished until a token after it is known that
  // belongs to none. What a policy decides depends on tokens and prompts alone, not on blocks.
  virtual void add_prompt(Range /*positions*/, std::span<const int64_t> /*prompt_ends*/) {}

  // The positions of the next block of at most `max_tokens`, of a sequence whose `tokens` are known
  // and announced; empty if all of them ran, or the rest must wait for more.
  virtual Range next_block(std::span<const int32_t> tokens, int64_t max_tokens) = 0;
  // Tokens that ran through all layers.
  virtual int64_t n_done() const = 0;

  // Cuts the sequence to the first `n_tokens` tokens, whose prompts stay announced, and returns how
  // many of them stay done, perhaps a few less: the others must run again. The next block may begin
  // still earlier.
  virtual int64_t truncate(int64_t n_tokens) = 0;

  // Copies what another policy made alike needs to go on from here.
  virtual PolicyState state() const = 0;
  // Takes over the state of a sequence of `tokens`, whose prompts were announced before; must be
  // followed by truncate(). Throws Error (kData) if no sequence of these tokens has that state.
  virtual void restore(std::span<const int32_t> tokens, const PolicyState& state) = 0;

  // Whether a layer that does not slide chooses what it attends to; the others attend to everything
  // or to a window.
  virtual bool selects(int64_t /*layer*/) const { return true; }
  // The tokens that chose anew in a layer, numbered in the sequence: the numbers of those at
  // `positions`, which began to run, and the position of one. Each token does by default.
  virtual Range refreshes_in(int64_t /*layer*/, Range positions) const { return positions; }
  virtual int64_t refresh_at(int64_t /*layer*/, int64_t number) const { return number; }

  // Rows that the last token of the last block attended to in a layer.
  virtual int64_t rows_attended(int64_t layer) const = 0;

  // Rows that prompt tokens attended to so far, summed over tokens and the layers that do not
  // slide; for a policy that selects.
  virtual int64_t prompt_rows_attended() const { return 0; }

  // The chunks that the last refresh at or before `position` chose in the last third of the layers
  // that select by trained chunks, in order of position. Made again from the index, so that a run
  // takes no longer for it; empty for policies without one.
  virtual std::vector<ChosenChunk> chosen_at(int64_t /*position*/) const { return {}; }

  virtual int64_t n_chunks() const { return 0; }
  // The tokens of the i-th of n_chunks().
  virtual Range chunk(int64_t /*i*/) const { return {}; }
  virtual int64_t n_refreshes() const { return 0; }
  // Bytes that the policy itself keeps for the sequence.
  virtual int64_t size_bytes() const { return 0; }
};

}  // namespace chunkllm
