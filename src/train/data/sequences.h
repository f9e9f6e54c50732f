// Token sequences with the labels that adapters learn from.
#pragma once

#include <cstdint>
#include <optional>
#include <vector>

#include "base/random.h"
#include "select/chunk/adapter.h"
#include "select/chunk/chunk_track.h"
#include "text/chat/chat_template.h"
#include "text/tokenizer/tokenizer.h"
#include "train/data/corpus.h"

namespace chunkllm {

struct TrainingSequence {
  std::vector<int32_t> ids;     // begins with BOS where the tokenizer has one
  std::vector<uint8_t> labels;  // [n_tokens], 1 on tokens that hold a sentence's last character
  std::vector<int64_t> prompt_ends;     // ascending
  std::vector<int64_t> random_queries;  // ascending, none of them a boundary or prompt end

  int64_t n_tokens() const { return static_cast<int64_t>(ids.size()); }
};

// Draws sequences from a corpus. Refers to what it is given, which must outlive it. Immutable: any
// thread may draw, and the same Rng gives the same sequence.
class SequenceSampler {
 public:
  // `chat` may be null: then all sequences are plain text. `chat_share` in [0, 1] is the
  // probability of a retrieval chat.
  SequenceSampler(const Corpus& corpus, const Tokenizer& tokenizer, const ChatTemplate* chat,
                  int64_t seq_len, double chat_share);

  // A sequence of at most seq_len tokens.
  TrainingSequence draw(Rng& rng) const;

 private:
  // A run of whole sentences with about `n_bytes` bytes, from a random place.
  struct Passage {
    std::string text;
    std::vector<int64_t> sentence_ends;
  };
  Passage draw_passage(Rng& rng, int64_t n_bytes) const;
  TrainingSequence draw_text(Rng& rng) const;
  TrainingSequence draw_chat(Rng& rng) const;
  void finish(TrainingSequence& sequence, Rng& rng) const;

  const Corpus& corpus_;
  const Tokenizer& tokenizer_;
  const ChatTemplate* chat_;
  int64_t seq_len_;
  double chat_share_;
  double bytes_per_token_;
  int64_t corpus_bytes_;
};

// Chunks and refreshes of the layers after the first as inference makes them (ChunkRules), with
// labels for predictions.
ChunkTrack sentence_track(const TrainingSequence& sequence, const AdapterConfig& config,
                          const std::vector<int32_t>& special_ids);

// Those of a grid first layer.
ChunkTrack grid_track(const TrainingSequence& sequence, const AdapterConfig& config,
                      const std::vector<int32_t>& special_ids);

}  // namespace chunkllm
