// Texts of a given number of tokens, from --data or made up: what ppl and icac read.
#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include "base/random.h"
#include "engine/engine.h"
#include "eval/task.h"

namespace chunkllm {

// Windows are taken from the documents in turns, each from its begin on. A window begins as a text
// of its own: with the token that the tokenizer puts before a text, if it has one, in place of its
// first.
class TextWindows {
 public:
  // A made-up text of at least `n_bytes`, of sample number `sample`.
  using MakeText = std::function<std::string(Rng& rng, int64_t sample, int64_t n_bytes)>;

  static constexpr int64_t kLeastTokens = 16;  // of a window

  // Fills in what `options` leave open of --ctx and --samples. Throws Error (kInvalidArgument) for
  // a window that is too short, (kData) if no text is long enough, and as read_corpus() does.
  // Refers to the engine.
  TextWindows(const Engine& engine, EvalOptions& options, const MakeText& make);

  // By length, in the order of samples.
  std::vector<EvalUnit> units() const;
  std::vector<int32_t> ids(const EvalUnit& unit) const;
  // Of the texts.
  const std::string& fingerprint() const { return fingerprint_; }
  const std::vector<std::string>& notes() const { return notes_; }

 private:
  // A document's tokens, as far as windows may need them.
  struct TokenText {
    std::string name;
    std::vector<int32_t> ids;
  };
  struct Window {
    int64_t ctx = 0;
    size_t text = 0;
    int64_t begin = 0;  // token
  };

  void make_texts(const EvalOptions& options, const MakeText& make, int64_t longest);
  void read_texts(const EvalOptions& options, int64_t longest);
  std::vector<int32_t> first_tokens(const std::string& text, int64_t needed) const;
  void add_windows(int64_t ctx, size_t n_samples);
  int64_t longest_text() const;

  const Engine& engine_;
  std::vector<int32_t> begin_ids_;
  std::vector<TokenText> texts_;
  std::vector<Window> windows_;  // by length, in the order of samples
  std::string fingerprint_;
  std::vector<std::string> notes_;
};

// What --ctx and --samples are where nobody gives them. Throws Error (kInvalidArgument) for a
// length below `least_tokens`.
void fill_text_options(const Engine& engine, EvalOptions& options, int64_t least_tokens);

}  // namespace chunkllm
