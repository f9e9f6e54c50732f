#include "text/tokenizer.h"

#include "base/error.h"
#include "text/tokenizer_tables.h"
#include "text/utf8.h"

namespace chunkllm {

namespace {

const Token& token_at(const Tokenizer::Tables& tables, int32_t id) {
  const bool is_inside = id >= 0 && static_cast<size_t>(id) < tables.tokens.size();
  if (!is_inside || tables.tokens[id].kind == TokenKind::kMissing) {
    fail(ErrorCode::kData, "{} has no token {}; its ids are below {}", tables.file, id,
         tables.tokens.size());
  }
  return tables.tokens[id];
}

// Appends the ids of text without added tokens.
void encode_plain(const Tokenizer::Tables& tables, std::string_view text, PieceCache& cache,
                  std::vector<int32_t>& ids) {
  for (size_t begin = 0; begin < text.size();) {
    const size_t end = tables.piece_end(text, begin);
    const std::string_view piece = text.substr(begin, end - begin);
    begin = end;
    const auto known = cache.find(piece);
    if (!known.empty()) {
      ids.insert(ids.end(), known.begin(), known.end());
      continue;
    }
    const size_t n_before = ids.size();
    tables.bpe.encode_piece(piece, ids);
    cache.store(piece, std::span(ids).subspan(n_before));
  }
}

// Encodes `text` segment by segment and tells `on_segment` each one after its ids are in `ids`,
// with the index of the first of them.
template <typename OnSegment>
void encode_segments(const Tokenizer::Tables& tables, std::string_view text, bool parse_special,
                     std::vector<int32_t>& ids, OnSegment on_segment) {
  if (const auto offset = find_invalid_utf8(text)) {
    fail(ErrorCode::kData, "the text is not valid UTF-8 at byte {}; convert it to UTF-8", *offset);
  }
  PieceCache cache(text.size());
  for (const TextSegment& segment : tables.added.split(text, parse_special)) {
    const size_t n_before = ids.size();
    if (segment.added_id == TextSegment::kPlainText) {
      encode_plain(tables, text.substr(segment.begin, segment.end - segment.begin), cache, ids);
    } else {
      ids.push_back(segment.added_id);
    }
    on_segment(segment, n_before);
  }
}

bool is_skipped(const Token& token, bool skip_special) {
  return skip_special && token.kind == TokenKind::kSpecial;
}

}  // namespace

Tokenizer Tokenizer::from_folder(const std::filesystem::path& folder) {
  return Tokenizer(read_tokenizer_tables(folder));
}

std::vector<int32_t> Tokenizer::encode(std::string_view text, EncodeOptions options) const {
  std::vector<int32_t> ids;
  if (options.add_special_tokens) ids = tables_->prefix;
  encode_segments(*tables_, text, options.parse_special, ids, [](const TextSegment&, size_t) {});
  if (options.add_special_tokens) {
    ids.insert(ids.end(), tables_->suffix.begin(), tables_->suffix.end());
  }
  return ids;
}

std::vector<TokenSpan> Tokenizer::encode_with_offsets(std::string_view text,
                                                      EncodeOptions options) const {
  std::vector<TokenSpan> spans;
  const auto add_empty = [&](const std::vector<int32_t>& ids, size_t offset) {
    if (!options.add_special_tokens) return;
    for (const int32_t id : ids) {
      spans.push_back({id, static_cast<int64_t>(offset), static_cast<int64_t>(offset)});
    }
  };
  add_empty(tables_->prefix, 0);
  std::vector<int32_t> ids;
  const auto add_segment = [&](const TextSegment& segment, size_t first) {
    int64_t begin = static_cast<int64_t>(segment.begin);
    for (size_t i = first; i < ids.size(); ++i) {
      // An added token may have taken white space around it; all others are their bytes.
      const int64_t end = segment.added_id == TextSegment::kPlainText
                              ? begin + static_cast<int64_t>(tables_->tokens[ids[i]].bytes.size())
                              : static_cast<int64_t>(segment.end);
      spans.push_back({ids[i], begin, end});
      begin = end;
    }
  };
  encode_segments(*tables_, text, options.parse_special, ids, add_segment);
  add_empty(tables_->suffix, text.size());
  return spans;
}

std::string Tokenizer::decode(std::span<const int32_t> ids, bool skip_special) const {
  std::string bytes;
  for (const int32_t id : ids) {
    const Token& token = token_at(*tables_, id);
    if (!is_skipped(token, skip_special)) bytes += token.bytes;
  }
  std::string text;
  append_lossy(bytes, true, text);
  return text;
}

std::string_view Tokenizer::token_bytes(int32_t id) const { return token_at(*tables_, id).bytes; }

bool Tokenizer::is_special(int32_t id) const {
  return token_at(*tables_, id).kind == TokenKind::kSpecial;
}

std::vector<int32_t> Tokenizer::special_ids() const {
  std::vector<int32_t> ids;
  for (size_t id = 0; id < tables_->tokens.size(); ++id) {
    if (tables_->tokens[id].kind == TokenKind::kSpecial) ids.push_back(static_cast<int32_t>(id));
  }
  return ids;
}

std::optional<int32_t> Tokenizer::find_token(std::string_view content) const {
  const AddedToken* token = tables_->added.find(content);
  return token == nullptr ? std::nullopt : std::optional(token->id);
}

std::optional<int32_t> Tokenizer::bos_id() const { return tables_->bos_id; }

std::optional<int32_t> Tokenizer::eos_id() const { return tables_->eos_id; }

int64_t Tokenizer::n_vocab() const { return static_cast<int64_t>(tables_->tokens.size()); }

StreamDecoder::StreamDecoder(Tokenizer tokenizer, bool skip_special)
    : tokenizer_(std::move(tokenizer)), skip_special_(skip_special) {}

std::string StreamDecoder::push(int32_t id) {
  const std::string_view bytes = tokenizer_.token_bytes(id);
  if (skip_special_ && tokenizer_.is_special(id)) return {};
  pending_ += bytes;
  std::string text;
  pending_.erase(0, append_lossy(pending_, false, text));
  return text;
}

std::string StreamDecoder::finish() {
  std::string text;
  append_lossy(pending_, true, text);
  pending_.clear();
  return text;
}

}  // namespace chunkllm
