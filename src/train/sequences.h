// Token sequences with the labels that adapters learn from.
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <vector>

#include "base/random.h"
#include "data/corpus.h"
#include "data/retrieval.h"
#include "select/chunk/adapter.h"
#include "select/chunk/chunk_track.h"
#include "text/chat/chat_template.h"
#include "text/tokenizer/tokenizer.h"

namespace chunkllm {

struct TrainingSequence {
  std::vector<int32_t> ids;  // begins with BOS where the tokenizer has one
  // [n_tokens], 1 on tokens that end a chunk: that hold a sentence's last character, or a line end
  // of structured text.
  std::vector<uint8_t> labels;
  std::vector<int64_t> prompt_ends;     // ascending
  std::vector<int64_t> answers;         // the tokens of answers, ascending
  std::vector<int64_t> random_queries;  // ascending, none of them a label or one of the above

  int64_t n_tokens() const { return static_cast<int64_t>(ids.size()); }
};

// The least tokens of a sequence where the longest may have more.
inline constexpr int64_t kShortestSequence = 2048;

// Draws sequences from a corpus. Refers to what it is given, which must outlive it. Immutable: any
// thread may draw, and the same Rng gives the same sequence.
class SequenceSampler {
 public:
  // Lengths are log-uniform from `min_len` to `max_len` tokens, min_len <= max_len. `chat_share` in
  // [0, 1] is the probability that a sequence asks about hidden facts: in turns of `chat`, or, if
  // that is null, in plain text with "Question:" and "Answer:".
  SequenceSampler(const Corpus& corpus, const Tokenizer& tokenizer, const ChatTemplate* chat,
                  int64_t min_len, int64_t max_len, double chat_share);
  // The same from kShortestSequence tokens on, or of max_len tokens if that is less.
  SequenceSampler(const Corpus& corpus, const Tokenizer& tokenizer, const ChatTemplate* chat,
                  int64_t max_len, double chat_share);

  // A sequence of at most max_len tokens.
  TrainingSequence draw(Rng& rng) const;

 private:
  // Whole sentences and lines with about `n_bytes` bytes, from a random place.
  LabeledText draw_passage(Rng& rng, int64_t n_bytes) const;
  TrainingSequence draw_text(Rng& rng, int64_t n_tokens) const;
  // Nothing if questions and answers do not fit.
  std::optional<TrainingSequence> draw_chat(Rng& rng, int64_t n_tokens) const;
  TrainingSequence encode_chat(Rng& rng, const RetrievalText& text) const;
  TrainingSequence encode_plain(const RetrievalText& text) const;
  void finish(TrainingSequence& sequence, Rng& rng, int64_t n_tokens) const;

  const Corpus& corpus_;
  const Tokenizer& tokenizer_;
  const ChatTemplate* chat_;
  int64_t min_len_;
  int64_t max_len_;
  double chat_share_;
  double bytes_per_token_;
  int64_t corpus_bytes_;
};

// Chunks and refreshes of the layers after the first as inference makes them (ChunkRules), with
// labels for predictions; answers are cut at the limit's best place, too.
ChunkTrack sentence_track(const TrainingSequence& sequence, const AdapterConfig& config,
                          const std::vector<int32_t>& special_ids,
                          std::span<const uint8_t> token_marks = {});

// Those of a grid first layer.
ChunkTrack grid_track(const TrainingSequence& sequence, const AdapterConfig& config,
                      const std::vector<int32_t>& special_ids);

}  // namespace chunkllm
