#include "text/tokenizer/encoder.h"

#include <algorithm>

#include "base/error.h"
#include "text/utf8.h"

namespace chunkllm {

void Encoder::run(std::string_view text, std::span<const ByteRange> control) {
  if (const auto offset = find_invalid_utf8(text)) {
    fail(ErrorCode::kData, "the text is not valid UTF-8 at byte {}; convert it to UTF-8", *offset);
  }
  control_ = control;
  cache_ = PieceCache(text.size());
  const TextLayer whole(text);
  const auto allows = [this](size_t begin, size_t end) { return is_control(begin, end); };
  for (const TextSegment& segment : tables_.added.split(AddedTokens::Pass::kRaw, text, allows)) {
    if (segment.added_id == TextSegment::kPlainText) {
      encode_plain(whole, segment);
    } else {
      add_added_token(whole, segment);
    }
  }
  if (!spans_.empty()) spans_.back().end = std::ssize(text);
}

bool Encoder::is_control(size_t begin, size_t end) const {
  const auto next = std::ranges::upper_bound(control_, begin, {}, &ByteRange::begin);
  return next != control_.begin() && end <= std::prev(next)->end;
}

// A segment without raw added tokens: the normalizer, then the tokens looked for in what it makes.
void Encoder::encode_plain(const TextLayer& whole, const TextSegment& segment) {
  TextLayer layer(whole, segment.begin, segment.end);
  for (const NormalizerStep& step : tables_.normalizer) {
    apply_step(step, layer, pool_, with_offsets_);
  }
  const auto allows = [&](size_t begin, size_t end) {
    return with_offsets_ ? is_control(layer.source(begin), layer.source(end)) : !control_.empty();
  };
  for (const TextSegment& part :
       tables_.added.split(AddedTokens::Pass::kNormalized, layer.text(), allows)) {
    if (part.added_id == TextSegment::kPlainText) {
      encode_words(TextLayer(layer, part.begin, part.end));
    } else {
      add_added_token(layer, part);
    }
  }
}

void Encoder::encode_words(TextLayer part) {
  if (tables_.metaspace) tables_.metaspace->apply(part, pool_, with_offsets_);
  const std::string_view text = part.text();
  if (!tables_.bpe.chars) {
    encode_cuts(part, 0, text.size(), 0);
    return;
  }
  for (size_t begin = 0; begin < text.size();) {
    const size_t end = tables_.words.piece_end(text, begin);
    encode_piece(part, begin, end);
    begin = end;
  }
}

// Applies the cuts from number `n_cuts_done` on to bytes [begin, end) of the part. What a cut sees
// ends with them.
void Encoder::encode_cuts(const TextLayer& part, size_t begin, size_t end, size_t n_cuts_done) {
  if (n_cuts_done == tables_.cuts.size()) {
    encode_piece(part, begin, end);
    return;
  }
  const std::string_view text = part.text().substr(begin, end - begin);
  for (size_t piece_begin = 0; piece_begin < text.size();) {
    const size_t piece_end = tables_.cuts[n_cuts_done](text, piece_begin);
    encode_cuts(part, begin + piece_begin, begin + piece_end, n_cuts_done + 1);
    piece_begin = piece_end;
  }
}

void Encoder::encode_piece(const TextLayer& part, size_t begin, size_t end) {
  const std::string_view piece = part.text().substr(begin, end - begin);
  const size_t first_id = ids_.size();
  const auto known = cache_.find(piece);
  if (!known.empty()) {
    ids_.insert(ids_.end(), known.begin(), known.end());
  } else {
    tables_.bpe.encode_piece(piece, ids_);
    cache_.store(piece, std::span(ids_).subspan(first_id));
  }
  if (with_offsets_) add_spans(part, begin, end, first_id);
}

void Encoder::add_spans(const TextLayer& part, size_t begin, size_t end, size_t first_id) {
  const std::string_view piece = part.text().substr(0, end);
  for (size_t i = first_id; i < ids_.size(); ++i) {
    begin += tables_.bpe.source_bytes(piece.substr(begin), tables_.tokens[ids_[i]].text_bytes);
    add_span(ids_[i], part.source(begin));
  }
}

// The span begins where the one before ends, so that they tile the text.
void Encoder::add_span(int32_t id, size_t source_end) {
  const int64_t begin = spans_.empty() ? 0 : spans_.back().end;
  spans_.push_back({id, begin, static_cast<int64_t>(source_end)});
}

// It may have taken white space around it, which its span covers.
void Encoder::add_added_token(const TextLayer& layer, const TextSegment& segment) {
  ids_.push_back(segment.added_id);
  if (with_offsets_) add_span(segment.added_id, layer.source(segment.end));
}

}  // namespace chunkllm
