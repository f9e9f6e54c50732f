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

// What passes with drafts took and gave beside passes over one token, so that no answer takes much
// longer than without drafts: what the next draft may lose was gained before, or is a small share
// of the answer so far. Unit: passes over one token. One thread at a time.
class DraftAccount {
 public:
  // A pass over a token and `n_drafted` others, which took so long to make and to check. The first
  // one has none.
  void add_pass(int64_t n_drafted, double making_seconds, double checking_seconds);
  // Drafted tokens that were right.
  void add_accepted(int64_t n_tokens);

  // How many tokens may be drafted now that take `making` passes each to make.
  int64_t affordable(double making) const;

  // Whether it is known what a pass over one token takes.
  bool is_known() const { return n_plain_ >= kPlainFirst; }
  double in_passes(double seconds) const { return seconds / plain_seconds_; }
  // What a drafted token adds to the pass that checks it.
  double checking() const { return checking_; }

 private:
  static constexpr int64_t kPlainFirst = 3;
  static constexpr double kFirstBalance = 2;
  static constexpr double kShare = 0.03;  // of the answer, that may be lost
  // What was gained long ago is no reason to lose much now, nor is what another program took.
  static constexpr double kMostBalance = 8;

  void add_to_balance(double passes);

  double plain_seconds_ = 0;  // of a pass over one token, a running mean
  int64_t n_plain_ = 0;
  double checking_ = 0.3;  // where arithmetic sets the pace; a running mean of what is seen
  int64_t n_checked_ = 0;
  double balance_ = kFirstBalance;
};

// How many tokens a policy drafts at a time, one by one: as many as pay by what passes took and by
// what became of earlier drafts. One thread at a time.
class DraftPace {
 public:
  explicit DraftPace(const DraftAccount& account) : account_(account) {}

  // Tokens to draft before the next pass, at most `most`; 0: none.
  int64_t next(int64_t most);

  void report_plain() { n_since_plain_ = 0; }
  // What became of a draft, and what it took to make and to check it.
  void report(int64_t n_drafted, int64_t n_accepted, double making_seconds,
              double checking_seconds);

  // Whether drafts would not pay if all of their tokens were right.
  bool is_hopeless() const;

 private:
  static constexpr int64_t kDraftsPerPlain = 8;  // then a pass without, to know what it takes
  static constexpr int64_t kFirst = 2;
  static constexpr int64_t kMost = 7;
  static constexpr int64_t kLeastReports = 2;  // before there is no hope
  static constexpr double kLeastGain = 1.1;    // less is not worth the doubt

  const DraftAccount& account_;
  int64_t n_since_plain_ = 0;  // drafts
  int64_t n_reports_ = 0;
  double making_ = 1;  // passes a token, a running mean
  int64_t length_ = kFirst;
  DraftPauses pauses_{128};
};

}  // namespace chunkllm
