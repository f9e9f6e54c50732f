// Where the last tokens of a sequence stood before: what lookup prefers chunks by (docs/method.md,
// "Lookup").
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "base/range.h"
#include "select/chunk/chunk_track.h"

namespace chunkllm {

// An index of the runs of kGram tokens of one sequence. Follows from the tokens, so that nothing of
// it is saved. One thread at a time.
class TokenLookup {
 public:
  static constexpr int64_t kGram = 3;        // tokens of a run
  static constexpr int64_t kRecent = 128;    // last tokens that are looked up
  static constexpr int64_t kMostPlaces = 8;  // of a run that says something
  static constexpr int64_t kMostAgreed = 64;
  static constexpr int64_t kHalfLife = 16;  // tokens

  struct Place {
    int64_t position = 0;  // of the run's last token
    float weight = 0;      // 1 / places of the run
    float urgency = 0;     // the same, halved every kHalfLife tokens that it lies back
  };

  // Takes in `tokens` at positions from `first` on; those that it has already must be the same.
  void extend(int64_t first, std::span<const int32_t> tokens);
  // Forgets everything from position `n_tokens` on.
  void truncate(int64_t n_tokens);

  // Replaces `places` by the earlier ones of the runs that end among the kRecent tokens up to
  // `position`, as far as they end before `limit`; runs with more than kMostPlaces there are left
  // out. Tokens after `position` do not matter.
  void find(int64_t position, int64_t limit, std::vector<Place>& places) const;

  // Where the run of the last tokens ended before: the place from which on backwards the text
  // agrees longest with its end (kMostAgreed tokens are looked at), the later of equals; -1 without
  // one.
  int64_t best_place() const;

  std::span<const int32_t> tokens() const { return tokens_; }
  int64_t n_tokens() const { return static_cast<int64_t>(tokens_.size()); }
  int64_t size_bytes() const;
  // Bytes at `n_tokens`, foretold.
  static int64_t foretold_bytes(int64_t n_tokens) { return n_tokens * 20; }

 private:
  bool same_run(int64_t a, int64_t b) const;
  size_t home_of(int64_t position) const;
  // The slot of the run that ends at `position`, or an empty one for it.
  size_t slot_of(int64_t position) const;
  void add_run(int64_t position);
  void remove_last_run();
  void empty_slot(size_t slot);

  std::vector<int32_t> tokens_;
  std::vector<int32_t> previous_;  // [n_tokens] where the run that ends there ended before; -1
  // Open addressing by linear probing: the last place of each run, -1 where empty.
  std::vector<int32_t> slots_;
  int64_t n_runs_ = 0;  // slots in use
};

// The `eligible` chunks, ascending, that hold places of the last tokens before and at `position`,
// or in which the text goes on from one: those whose places weigh at least as much as a run that
// stands nowhere else, by descending urgency (ties to the lower index), until the next would make
// more than `most_rows`, but one at least. Any thread may call it while `lookup` does not change.
std::vector<int64_t> preferred_chunks(const TokenLookup& lookup, const ChunkTrack& track,
                                      int64_t position, Range eligible, int64_t most_rows);

}  // namespace chunkllm
