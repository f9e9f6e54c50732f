#include "text/tokenizer/tokenizer.h"

#include "base/error.h"
#include "text/tokenizer/encoder.h"
#include "text/tokenizer/tokenizer_tables.h"
#include "text/utf8.h"

namespace chunkllm {

namespace {

bool is_token(const Tokenizer::Tables& tables, int32_t id) {
  return id >= 0 && static_cast<size_t>(id) < tables.tokens.size() &&
         tables.tokens[id].kind != TokenKind::kMissing;
}

const Token& token_at(const Tokenizer::Tables& tables, int32_t id) {
  if (!is_token(tables, id)) {
    fail(ErrorCode::kData, "{} has no token {}; give ids of it, which are below {}", tables.file,
         id, tables.tokens.size());
  }
  return tables.tokens[id];
}

// The ranges of a text in which markers count.
std::vector<ByteRange> all_or_nothing(std::string_view text, bool parse_special) {
  return parse_special ? std::vector<ByteRange>{{0, text.size()}} : std::vector<ByteRange>{};
}

bool is_skipped(const Token& token, bool skip_special) {
  return skip_special && token.kind == TokenKind::kSpecial;
}

}  // namespace

Tokenizer Tokenizer::from_folder(const std::filesystem::path& folder) {
  return Tokenizer(read_tokenizer_tables(folder));
}

Tokenizer Tokenizer::from_gguf(const GgufVocabulary& vocabulary) {
  return Tokenizer(read_tokenizer_tables(vocabulary));
}

std::vector<int32_t> Tokenizer::encode(std::string_view text, EncodeOptions options) const {
  Encoder encoder(*tables_, false);
  encoder.run(text, all_or_nothing(text, options.parse_special));
  std::vector<int32_t> ids = encoder.take_ids();
  if (options.add_special_tokens) {
    ids.insert(ids.begin(), tables_->prefix.begin(), tables_->prefix.end());
    ids.insert(ids.end(), tables_->suffix.begin(), tables_->suffix.end());
  }
  return ids;
}

std::vector<TokenSpan> Tokenizer::encode_with_offsets(std::string_view text,
                                                      EncodeOptions options) const {
  std::vector<TokenSpan> spans = encode_marked(text, all_or_nothing(text, options.parse_special));
  if (!options.add_special_tokens) return spans;
  const auto empty_spans = [](const std::vector<int32_t>& ids, size_t offset) {
    std::vector<TokenSpan> added;
    for (const int32_t id : ids) {
      added.push_back({id, static_cast<int64_t>(offset), static_cast<int64_t>(offset)});
    }
    return added;
  };
  const auto prefix = empty_spans(tables_->prefix, 0);
  const auto suffix = empty_spans(tables_->suffix, text.size());
  spans.insert(spans.begin(), prefix.begin(), prefix.end());
  spans.insert(spans.end(), suffix.begin(), suffix.end());
  return spans;
}

std::vector<TokenSpan> Tokenizer::encode_marked(std::string_view text,
                                                std::span<const ByteRange> control) const {
  Encoder encoder(*tables_, true);
  encoder.run(text, control);
  return encoder.take_spans();
}

std::string Tokenizer::decode(std::span<const int32_t> ids, bool skip_special) const {
  TextBegin begin(tables_->decode_rules);
  std::string bytes;
  for (const int32_t id : ids) {
    const Token& token = token_at(*tables_, id);
    if (!is_skipped(token, skip_special))
      begin.append(token.bytes, token.kind != TokenKind::kOrdinary, bytes);
  }
  std::string text;
  append_lossy(bytes, true, text);
  return text;
}

std::string_view Tokenizer::token_bytes(int32_t id) const { return token_at(*tables_, id).bytes; }

bool Tokenizer::has_token(int32_t id) const { return is_token(*tables_, id); }

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
    : tokenizer_(std::move(tokenizer)),
      skip_special_(skip_special),
      begin_(std::make_unique<TextBegin>(tokenizer_.tables_->decode_rules)) {}

StreamDecoder::~StreamDecoder() = default;
StreamDecoder::StreamDecoder(StreamDecoder&&) noexcept = default;

std::string StreamDecoder::push(int32_t id) {
  const Token& token = token_at(*tokenizer_.tables_, id);
  if (is_skipped(token, skip_special_)) return {};
  begin_->append(token.bytes, token.kind != TokenKind::kOrdinary, pending_);
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
