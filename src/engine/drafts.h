// Guesses at the next tokens of an answer, which one pass then checks: speculative decoding
// (arXiv 2211.17192) with drafts from the text itself (prompt lookup).
#pragma once

#include <algorithm>
#include <cstdint>
#include <span>

#include "kernels/attention/attention.h"
#include "select/chunk/token_lookup.h"

namespace chunkllm {

// Passes without a draft after one that was of no use: none at first, then ever more.
class DraftPauses {
 public:
  explicit DraftPauses(int64_t longest) : longest_(longest) {}

  // Whether the next pass is one of them.
  bool take() { return n_left_ > 0 && n_left_-- > 0; }
  void begin() {
    n_left_ = length_;
    length_ = std::min(2 * length_ + 2, longest_);
  }
  // Of those to come.
  void halve() { length_ /= 2; }
  void forget() { length_ = 0; }

 private:
  int64_t longest_;
  int64_t length_ = 0;
  int64_t n_left_ = 0;
};

// Drafts go on as the text did where it last had the same tokens. How long they are and how often
// they are made follows what became of those before, so that they cost little where nothing is
// repeated. One thread at a time.
class LookupDrafts {
 public:
  // Tokens that may follow `token`, the one after `before`, which earlier calls had the first of:
  // at most `most`, and none where nothing is found. Valid until the next call.
  std::span<const int32_t> next(std::span<const int32_t> before, int32_t token, int64_t most);

  // What became of the last draft that was not empty.
  void report(int64_t n_drafted, int64_t n_accepted);

 private:
  // With the token that they follow they fill the rows that the kernels for few tokens take at
  // once.
  static constexpr int64_t kLeast = 3;
  static constexpr int64_t kMost = kFewQueries - 1;

  TokenLookup lookup_;
  int64_t length_ = kLeast;
  DraftPauses pauses_{64};
};

// How many tokens a policy drafts at a time, one by one: as many as pay by what passes took and by
// what became of earlier drafts. One thread at a time.
class DraftPace {
 public:
  // Tokens to draft before the next pass, at most `most`; 0: none.
  int64_t next(int64_t most);

  // A pass over one token, without a draft.
  void report_plain(double seconds);
  // What became of a draft, and what it took to make and to check it.
  void report(int64_t n_drafted, int64_t n_accepted, double seconds);

 private:
  static constexpr int64_t kPlainFirst = 3;      // passes without a draft, to know what they take
  static constexpr int64_t kDraftsPerPlain = 8;  // after so many drafts the next of them
  static constexpr int64_t kFirst = 2;
  static constexpr int64_t kMost = 7;

  double plain_seconds_ = 0;  // of a pass over one token, a running mean
  int64_t n_plain_ = 0;
  int64_t n_since_plain_ = 0;  // drafts
  int64_t length_ = kFirst;
  DraftPauses pauses_{128};
};

}  // namespace chunkllm
