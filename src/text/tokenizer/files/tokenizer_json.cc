// Reads tokenizer.json, the format of Hugging Face tokenizers, as far as BPE over bytes or
// characters needs it. What the engine would not reproduce exactly is refused by name.

#include <algorithm>
#include <array>
#include <span>
#include <string>
#include <unordered_set>
#include <utility>

#include "base/error.h"
#include "base/json.h"
#include "text/tokenizer/byte_level.h"
#include "text/tokenizer/files/added_token_files.h"
#include "text/tokenizer/files/tokenizer_json_parts.h"
#include "text/tokenizer/string_index.h"
#include "text/tokenizer/tokenizer_tables.h"
#include "text/utf8.h"

namespace chunkllm {

namespace {

using nlohmann::json;

void check_model(const JsonFields& model, const json& object, const std::string& where) {
  require_known(object, where,
                {"type", "dropout", "unk_token", "continuing_subword_prefix", "end_of_word_suffix",
                 "fuse_unk", "byte_fallback", "ignore_merges", "vocab", "merges"});
  // Files from before 2020 have no type and are BPE.
  const std::string type = model.string_or("type", "BPE");
  if (type != "BPE") fail_unsupported(where, "type " + show_text(type));
  if (model.has("dropout") && model.number("dropout", 0.0, 1.0) > 0.0) {
    fail_unsupported(where, "dropout");
  }
  for (const char* name : {"continuing_subword_prefix", "end_of_word_suffix"}) {
    if (!model.string_or(name, "").empty()) fail_unsupported(where, name);
  }
}

// Fills the tables from the parsed file.
class TableReader {
 public:
  TableReader(const json& root, std::string file)
      : root_(root, file),
        file_(std::move(file)),
        model_object_(root_.at("model")),
        model_(model_object_, file_ + ": model"),
        tables_(std::make_shared<Tokenizer::Tables>()) {
    tables_->file = file_;
  }

  // With `scores`, one a token, they take the place of the file's merges.
  std::shared_ptr<Tokenizer::Tables> read(std::span<const float> scores = {}) {
    check_model(model_, model_object_, file_ + ": model");
    tables_->normalizer = read_normalizer(root_, file_);
    PreTokenizer pre_tokenizer = read_pre_tokenizer(root_, file_);
    is_byte_level_ = pre_tokenizer.is_byte_level;
    tables_->cuts = std::move(pre_tokenizer.cuts);
    tables_->metaspace = std::move(pre_tokenizer.metaspace);
    tables_->decode_rules = read_decoder(root_, file_);
    check_alphabet();
    read_tokens();
    if (is_byte_level_) {
      read_byte_ids();
      if (model_.boolean_or("ignore_merges", false)) index_whole_pieces();
    } else {
      read_char_symbols();
    }
    if (scores.empty()) {
      read_merges();
    } else {
      merge_by_score(scores);
    }
    read_post_processor(root_, file_, *tables_);
    return tables_;
  }

  // The id of a token by its text, added or not.
  std::optional<int32_t> find(const std::string& text) const {
    if (const AddedToken* added = tables_->added.find(text)) return added->id;
    return ids_.find(text);
  }

 private:
  // Pre-tokenizer, model and decoder must mean the same alphabet, bytes or characters.
  void check_alphabet() const {
    if (tables_->decode_rules.byte_level != is_byte_level_) {
      fail_unsupported(file_,
                       "decoder " + type_of(root_.at("decoder")) + " with this pre_tokenizer");
    }
    if (is_byte_level_ && model_.boolean_or("byte_fallback", false)) {
      fail_unsupported(file_, "model.byte_fallback with ByteLevel");
    }
    if (!is_byte_level_ && model_.boolean_or("ignore_merges", false)) {
      fail_unsupported(file_, "model.ignore_merges without ByteLevel");
    }
  }

  void read_tokens() {
    const std::string where = file_ + ": model.vocab";
    const JsonFields vocab(model_.at("vocab"), where);
    const json::object_t& entries = model_.at("vocab").get_ref<const json::object_t&>();
    ids_ = StringIndex(entries.size());
    int32_t max_id = -1;
    for (const auto& [symbols, value] : entries) {
      const int32_t id = read_token_id(value, where, symbols);
      ids_.add(symbols, id);
      max_id = std::max(max_id, id);
    }
    std::vector<AddedToken> added = read_added_tokens();
    for (const AddedToken& token : added) max_id = std::max(max_id, token.id);
    tables_->tokens.resize(static_cast<size_t>(max_id) + 1);
    for (const auto& [symbols, id] : ids_.entries()) {
      Token& token = tables_->tokens[id];
      if (token.kind != TokenKind::kMissing) {
        fail(ErrorCode::kData, "{}: two tokens have the id {}, one of them {}", where, id,
             show_text(symbols));
      }
      token.kind = TokenKind::kOrdinary;
      token.bytes = tables_->decode_rules.bytes_of(symbols);
      token.text_bytes =
          static_cast<uint32_t>(is_byte_level_ ? token.bytes.size() : symbols.size());
    }
    for (const AddedToken& token : added) place_added_token(token);
    tables_->added = AddedTokens(std::move(added));
  }

  std::vector<AddedToken> read_added_tokens() const {
    std::vector<AddedToken> tokens;
    if (!root_.has("added_tokens")) return tokens;
    const json& entries = array_at(root_, file_, "added_tokens");
    for (size_t i = 0; i < entries.size(); ++i) {
      const std::string where = fmt::format("{}: added_tokens[{}]", file_, i);
      const JsonFields fields(entries[i], where);
      AddedToken token;
      token.content = fields.string("content");
      if (token.content.empty()) fail(ErrorCode::kData, "{}: content is empty", where);
      token.id = read_token_id(fields.at("id"), where, token.content);
      token.is_special = fields.boolean_or("special", false);
      token.single_word = fields.boolean_or("single_word", false);
      token.lstrip = fields.boolean_or("lstrip", false);
      token.rstrip = fields.boolean_or("rstrip", false);
      token.normalized = fields.boolean_or("normalized", false);
      token.pattern =
          token.normalized ? normalize(tables_->normalizer, token.content) : token.content;
      if (token.pattern.size() > AddedTokens::kMaxContentBytes) {
        fail_unsupported(where, fmt::format("content of {} bytes", token.pattern.size()));
      }
      tokens.push_back(std::move(token));
    }
    return tokens;
  }

  void place_added_token(const AddedToken& added) {
    Token& token = tables_->tokens[added.id];
    const auto known = ids_.find(added.content);
    const bool is_in_vocab = known.has_value();
    const bool is_free = is_in_vocab ? *known == added.id && token.kind == TokenKind::kOrdinary
                                     : token.kind == TokenKind::kMissing;
    if (!is_free || !added_contents_.insert(added.content).second) {
      fail(ErrorCode::kData, "{}: added_tokens: {} (id {}) clashes with another token's text or id",
           file_, show_text(added.content), added.id);
    }
    if (is_byte_level_ && is_in_vocab && token.bytes != added.content) {
      fail_unsupported(file_, "the added token " + show_text(added.content) +
                                  ", which is also an ordinary token of other text,");
    }
    token.kind = added.is_special ? TokenKind::kSpecial : TokenKind::kAdded;
    // In the alphabet of bytes added tokens are not written.
    token.bytes = is_byte_level_ ? added.pattern : tables_->decode_rules.bytes_of(added.pattern);
  }

  void read_merges() {
    const json& merges = array_at(model_, file_ + ": model", "merges");
    if (static_cast<int64_t>(merges.size()) > MergeTable::kMaxMerges) {
      fail_unsupported(file_, fmt::format("model.merges with {} entries", merges.size()));
    }
    tables_->bpe.merges = MergeTable(static_cast<int64_t>(merges.size()));
    std::string both;
    for (size_t i = 0; i < merges.size(); ++i) {
      const auto [left, right] = read_pair(merges[i], i);
      both.assign(left).append(right);
      const int32_t merged = merge_token(both, i);
      tables_->bpe.merges.add(merge_token(left, i), merge_token(right, i), merged);
      if (!is_byte_level_) tables_->words.add_token(both);
    }
  }

  // As SentencePiece does: any two tokens whose texts make a third may become it, the one of the
  // highest score first, the leftmost where scores are equal.
  void merge_by_score(std::span<const float> scores) {
    struct Merge {
      int32_t left, right, merged;
    };
    std::vector<Merge> merges;
    for (const auto& [symbols, merged] : ids_.entries()) {
      if (symbols.empty() || stands_for_others(symbols, merged)) continue;
      if (symbols.size() > AddedTokens::kMaxContentBytes) {
        fail_unsupported(file_, fmt::format("a token of {} bytes", symbols.size()));
      }
      for (size_t at = code_point_at(symbols, 0).n_bytes; at < symbols.size();
           at += code_point_at(symbols, at).n_bytes) {
        const auto left = ids_.find(symbols.substr(0, at));
        const auto right = ids_.find(symbols.substr(at));
        if (left && right && !stands_for_others(symbols.substr(0, at), *left) &&
            !stands_for_others(symbols.substr(at), *right)) {
          merges.push_back({*left, *right, merged});
        }
      }
      tables_->words.add_token(symbols);
    }
    if (static_cast<int64_t>(merges.size()) > MergeTable::kMaxMerges) {
      fail_unsupported(file_, fmt::format("a vocabulary with {} merges", merges.size()));
    }
    const auto score = [&](const Merge& merge) {
      return scores[static_cast<size_t>(merge.merged)];
    };
    std::ranges::stable_sort(merges, [&](const Merge& a, const Merge& b) {
      return score(a) != score(b) ? score(a) > score(b) : a.merged < b.merged;
    });
    tables_->bpe.merges = MergeTable(static_cast<int64_t>(merges.size()));
    int32_t before = -1;
    for (const Merge& merge : merges) {
      if (merge.merged == before) {
        tables_->bpe.merges.add_alike(merge.left, merge.right);
      } else {
        tables_->bpe.merges.add(merge.left, merge.right, merge.merged);
      }
      before = merge.merged;
    }
  }

  // A merge is written "a b" or ["a", "b"].
  std::pair<std::string_view, std::string_view> read_pair(const json& merge, size_t index) const {
    if (merge.is_array() && merge.size() == 2 && merge[0].is_string() && merge[1].is_string()) {
      return {merge[0].get_ref<const std::string&>(), merge[1].get_ref<const std::string&>()};
    }
    if (merge.is_string()) {
      const std::string_view text = merge.get_ref<const std::string&>();
      const size_t space = text.find(' ');
      if (space != std::string_view::npos && space == text.rfind(' ')) {
        return {text.substr(0, space), text.substr(space + 1)};
      }
    }
    fail(ErrorCode::kData, "{}: model.merges[{}] must be two tokens, \"a b\" or [\"a\", \"b\"]",
         file_, index);
  }

  int32_t merge_token(std::string_view symbols, size_t index) const {
    const auto it = ids_.find(symbols);
    if (!it || symbols.empty()) {
      fail(ErrorCode::kData, "{}: model.merges[{}]: the token {} is not in model.vocab", file_,
           index, show_text(symbols));
    }
    if (!is_byte_level_ && stands_for_others(symbols, *it)) {
      fail_unsupported(fmt::format("{}: model.merges[{}]", file_, index),
                       "a merge with the token " + show_text(symbols));
    }
    return *it;
  }

  // Whether characters become this token because they have none of their own.
  bool stands_for_others(std::string_view symbols, int32_t id) const {
    const CharSymbols& chars = *tables_->bpe.chars;
    return chars.byte_ids ? byte_of_name(symbols).has_value() : id == chars.unknown_id;
  }

  // Bytes without a token are left out of what is encoded, unless the file names a token for them.
  void read_byte_ids() {
    for (int value = 0; value < 256; ++value) {
      const uint8_t byte = static_cast<uint8_t>(value);
      const auto it = ids_.find(byte_symbol_utf8(byte));
      const bool is_in_utf8 = U8_IS_SINGLE(byte) || U8_IS_LEAD(byte) || U8_IS_TRAIL(byte);
      if (!it && is_in_utf8 && model_.has("unk_token")) {
        fail_unsupported(file_,
                         fmt::format("unk_token for the byte 0x{:02x}, which has no token,", byte));
      }
      tables_->bpe.byte_ids[byte] = it.value_or(BpeModel::kNoId);
    }
  }

  // Special tokens stay out: plain text must never become control.
  void index_whole_pieces() {
    tables_->bpe.whole_pieces.reserve(ids_.entries().size());
    for (const auto& [symbols, id] : ids_.entries()) {
      const Token& token = tables_->tokens[id];
      if (token.kind != TokenKind::kSpecial && symbols_to_bytes(symbols)) {
        tables_->bpe.whole_pieces.emplace(token.bytes, id);
      }
    }
  }

  void read_char_symbols() {
    CharSymbols& chars = tables_->bpe.chars.emplace();
    for (const auto& [symbols, id] : ids_.entries()) {
      const bool is_char = !symbols.empty() && code_point_at(symbols, 0).n_bytes == symbols.size();
      if (is_char && tables_->tokens[id].kind != TokenKind::kSpecial) {
        chars.char_ids.emplace(code_point_at(symbols, 0).value, id);
      }
    }
    if (model_.boolean_or("byte_fallback", false)) {
      read_byte_names(chars.byte_ids.emplace());
    } else {
      read_unknown(chars);
    }
    WordCutter& words = tables_->words;
    if (tables_->metaspace) words.mark = tables_->metaspace->mark;
    // Where unknown characters are fused, an unknown mark would be one of them.
    const bool is_known = chars.byte_ids.has_value() || ids_.find(words.mark).has_value();
    words.cuts = tables_->metaspace && tables_->metaspace->split ? WordCutter::Cuts::kEveryMark
                 : is_known                                      ? WordCutter::Cuts::kBetweenTokens
                                                                 : WordCutter::Cuts::kNever;
  }

  void read_byte_names(std::array<int32_t, 256>& byte_ids) {
    for (size_t byte = 0; byte < byte_ids.size(); ++byte) {
      const std::string name = fmt::format("<0x{:02X}>", byte);
      const auto it = ids_.find(name);
      if (!it) {
        fail_unsupported(file_, "model.byte_fallback without a token " + name);
      }
      byte_ids[byte] = *it;
      tables_->tokens[*it].text_bytes = 1;
    }
  }

  void read_unknown(CharSymbols& chars) {
    if (!model_.has("unk_token")) {
      fail_unsupported(file_, "a model with neither ByteLevel, byte_fallback nor unk_token");
    }
    const std::string unknown = model_.string("unk_token");
    const auto id = find(unknown);
    if (!id) {
      fail(ErrorCode::kData, "{}: model.unk_token is {}, which is no token", file_,
           show_text(unknown));
    }
    chars.unknown_id = *id;
    chars.fuse_unknown = model_.boolean_or("fuse_unk", false);
    tables_->tokens[*id].text_bytes = 0;
  }

  const JsonFields root_;
  const std::string file_;
  const json& model_object_;
  const JsonFields model_;
  std::shared_ptr<Tokenizer::Tables> tables_;
  StringIndex ids_{0};  // by symbols, which the JSON owns
  std::unordered_set<std::string> added_contents_;
  bool is_byte_level_ = false;  // else the vocabulary is written in characters
};

// bos_token and eos_token are written as text or as {"content": text}.
std::optional<int32_t> read_named_token(const JsonFields& config, const std::string& file,
                                        const char* name, const TableReader& reader) {
  if (!config.has(name)) return std::nullopt;
  const json& value = config.at(name);
  const std::string text = value.is_object()
                               ? JsonFields(value, file + ": " + name).string("content")
                               : config.string(name);
  const auto id = reader.find(text);
  if (!id) {
    fail(ErrorCode::kData, "{}: {} is {}, which is no token of tokenizer.json", file, name,
         show_text(text));
  }
  return id;
}

}  // namespace

std::shared_ptr<Tokenizer::Tables> read_tokenizer_tables(const json& root, const std::string& where,
                                                         std::span<const float> scores) {
  return TableReader(root, where).read(scores);
}

std::shared_ptr<const Tokenizer::Tables> read_tokenizer_tables(
    const std::filesystem::path& folder) {
  const std::filesystem::path path = folder / "tokenizer.json";
  json root = read_json_file(path);
  require_known(root, path.string(),
                {"version", "truncation", "padding", "added_tokens", "normalizer", "pre_tokenizer",
                 "post_processor", "decoder", "model"});
  merge_added_tokens(folder, root, path.string());
  TableReader reader(root, path.string());
  const auto tables = reader.read();
  const std::filesystem::path config_path = folder / "tokenizer_config.json";
  std::error_code error;
  if (std::filesystem::exists(config_path, error)) {
    const std::string file = config_path.string();
    const json object = read_json_file(config_path);
    const JsonFields config(object, file);
    tables->bos_id = read_named_token(config, file, "bos_token", reader);
    tables->eos_id = read_named_token(config, file, "eos_token", reader);
  }
  return tables;
}

}  // namespace chunkllm
