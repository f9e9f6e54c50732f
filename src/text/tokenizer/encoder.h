// One run of a tokenizer over a text: added tokens, normalizer, pieces, BPE.
#pragma once

#include <cstdint>
#include <span>
#include <string_view>
#include <vector>

#include "text/tokenizer/tokenizer_tables.h"

namespace chunkllm {

class Encoder {
 public:
  // `tables` must outlive the encoder. Without offsets spans() stays empty.
  Encoder(const Tokenizer::Tables& tables, bool with_offsets)
      : tables_(tables), with_offsets_(with_offsets) {}

  // Encodes `text`, once; markers are special tokens where they lie inside one of `control`, which
  // are ascending; without offsets they must cover all of the text or nothing. Throws Error (kData)
  // if the text is not valid UTF-8.
  void run(std::string_view text, std::span<const ByteRange> control);

  std::vector<int32_t> take_ids() { return std::move(ids_); }
  std::vector<TokenSpan> take_spans() { return std::move(spans_); }

 private:
  void encode_plain(const TextLayer& whole, const TextSegment& segment);
  void encode_words(TextLayer part);
  void encode_cuts(const TextLayer& part, size_t begin, size_t end, size_t n_cuts_done);
  void encode_piece(const TextLayer& part, size_t begin, size_t end);
  void add_spans(const TextLayer& part, size_t begin, size_t end, size_t first_id);
  void add_span(int32_t id, size_t source_end);
  void add_added_token(const TextLayer& layer, const TextSegment& segment);
  bool is_control(size_t begin, size_t end) const;

  const Tokenizer::Tables& tables_;
  bool with_offsets_;
  std::span<const ByteRange> control_;
  StringPool pool_;
  PieceCache cache_{0};
  std::vector<int32_t> ids_;
  std::vector<TokenSpan> spans_;
};

}  // namespace chunkllm
