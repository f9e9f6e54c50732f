// Reads tokenizer.json, the format of Hugging Face tokenizers, as far as byte-level BPE needs it.
// What the engine would not reproduce exactly is refused by name.

#include <algorithm>
#include <array>
#include <string>
#include <unordered_map>
#include <unordered_set>
#include <utility>

#include "base/error.h"
#include "base/json.h"
#include "text/byte_level.h"
#include "text/tokenizer_tables.h"

namespace chunkllm {

namespace {

using nlohmann::json;

constexpr int64_t kMaxId = (int64_t{1} << 22) - 1;  // keeps a table by id from taking all memory

[[noreturn]] void fail_unsupported(const std::string& where, const std::string& what) {
  fail(ErrorCode::kUnsupported,
       "{}: {} is not supported; use a model whose tokenizer is byte-level BPE like Llama 3's",
       where, what);
}

// The type that a component of the file names, for messages.
std::string type_of(const json& component) {
  if (component.is_object()) {
    const auto type = component.find("type");
    if (type != component.end() && type->is_string()) return show_text(type->get<std::string>());
  }
  return component.type_name();
}

void require_null(const JsonFields& root, const std::string& where, const char* name) {
  if (root.has(name)) {
    fail_unsupported(where, fmt::format("{} {}", name, type_of(root.at(name))));
  }
}

void require_known(const json& object, const std::string& where,
                   std::initializer_list<std::string_view> names) {
  for (const auto& [name, value] : object.items()) {
    if (!value.is_null() && std::ranges::find(names, name) == names.end()) {
      fail_unsupported(where, "the field " + show_text(name));
    }
  }
}

const json& array_at(const JsonFields& fields, const std::string& where, const char* name) {
  const json& array = fields.at(name);
  if (!array.is_array()) {
    fail(ErrorCode::kData, "{}: {} must be an array, found {}", where, name, array.type_name());
  }
  return array;
}

PieceEnd read_pre_tokenizer(const JsonFields& root, const std::string& file) {
  const std::string where = file + ": pre_tokenizer";
  if (!root.has("pre_tokenizer")) fail_unsupported(where, "null");
  const json& sequence = root.at("pre_tokenizer");
  const JsonFields fields(sequence, where);
  if (fields.string("type") != "Sequence") fail_unsupported(where, type_of(sequence));
  const json& parts = array_at(fields, where, "pretokenizers");
  if (parts.size() != 2 || type_of(parts[0]) != "\"Split\"" ||
      type_of(parts[1]) != "\"ByteLevel\"") {
    std::string types;
    for (const json& part : parts) types += (types.empty() ? "" : ", ") + type_of(part);
    fail_unsupported(where, "a Sequence of [" + types.substr(0, 200) + "]");
  }
  const JsonFields split(parts[0], where + " Split");
  if (split.string("behavior") != "Isolated") {
    fail_unsupported(where, "Split with behavior " + show_text(split.string("behavior")));
  }
  if (split.boolean_or("invert", false)) fail_unsupported(where, "Split with invert");
  const JsonFields pattern(split.at("pattern"), where + " Split.pattern");
  if (!pattern.has("Regex")) fail_unsupported(where, "Split by a pattern that is no Regex");
  const std::string regex = pattern.string("Regex");
  const PieceEnd piece_end = find_pre_tokenizer(regex);
  if (piece_end == nullptr) fail_unsupported(where, "Split by the Regex " + show_text(regex));
  const JsonFields byte_level(parts[1], where + " ByteLevel");
  if (byte_level.boolean_or("add_prefix_space", true)) {
    fail_unsupported(where, "ByteLevel with add_prefix_space");
  }
  if (byte_level.boolean_or("use_regex", true)) fail_unsupported(where, "ByteLevel with use_regex");
  return piece_end;
}

void check_decoder(const JsonFields& root, const std::string& file) {
  if (!root.has("decoder") || type_of(root.at("decoder")) != "\"ByteLevel\"") {
    const std::string found = root.has("decoder") ? type_of(root.at("decoder")) : "null";
    fail_unsupported(file, "decoder " + found);
  }
}

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
  if (model.boolean_or("byte_fallback", false)) fail_unsupported(where, "byte_fallback");
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

  std::shared_ptr<Tokenizer::Tables> read() {
    check_model(model_, model_object_, file_ + ": model");
    for (const char* name : {"normalizer", "truncation", "padding"}) {
      require_null(root_, file_, name);
    }
    tables_->piece_end = read_pre_tokenizer(root_, file_);
    check_decoder(root_, file_);
    read_tokens();
    read_merges();
    read_byte_ids();
    if (model_.boolean_or("ignore_merges", false)) index_whole_pieces();
    if (root_.has("post_processor")) {
      read_post_processor(root_.at("post_processor"), file_ + ": post_processor");
    }
    return tables_;
  }

  // The id of a token by its text, added or not.
  std::optional<int32_t> find(const std::string& text) const {
    if (const AddedToken* added = tables_->added.find(text)) return added->id;
    const auto it = ids_.find(text);
    return it == ids_.end() ? std::nullopt : std::optional(it->second);
  }

 private:
  void read_tokens() {
    const std::string where = file_ + ": model.vocab";
    const JsonFields vocab(model_.at("vocab"), where);
    const json::object_t& entries = model_.at("vocab").get_ref<const json::object_t&>();
    ids_.reserve(entries.size());
    int32_t max_id = -1;
    for (const auto& [symbols, value] : entries) {
      const int32_t id = read_id(value, where, symbols);
      ids_.emplace(symbols, id);
      max_id = std::max(max_id, id);
    }
    std::vector<AddedToken> added = read_added_tokens();
    for (const AddedToken& token : added) max_id = std::max(max_id, token.id);
    tables_->tokens.resize(static_cast<size_t>(max_id) + 1);
    for (const auto& [symbols, id] : ids_) {
      Token& token = tables_->tokens[id];
      if (token.kind != TokenKind::kMissing) {
        fail(ErrorCode::kData, "{}: two tokens have the id {}, one of them {}", where, id,
             show_text(symbols));
      }
      token.kind = TokenKind::kOrdinary;
      token.bytes = symbols_to_bytes(symbols).value_or(std::string(symbols));
    }
    for (const AddedToken& token : added) place_added_token(token);
    tables_->added = AddedTokens(std::move(added));
  }

  static int32_t read_id(const json& value, const std::string& where, std::string_view name) {
    const bool is_id = value.is_number_unsigned() && value.get<uint64_t>() <= uint64_t{kMaxId};
    if (!is_id) {
      fail(ErrorCode::kData, "{}: the id of {} must be an integer from 0 to {}, found {}", where,
           show_text(name), kMaxId,
           value.is_number() ? value.dump() : std::string(value.type_name()));
    }
    return static_cast<int32_t>(value.get<uint64_t>());
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
      if (token.content.size() > AddedTokens::kMaxContentBytes) {
        fail_unsupported(where, fmt::format("content of {} bytes", token.content.size()));
      }
      token.id = read_id(fields.at("id"), where, token.content);
      token.is_special = fields.boolean_or("special", false);
      token.single_word = fields.boolean_or("single_word", false);
      token.lstrip = fields.boolean_or("lstrip", false);
      token.rstrip = fields.boolean_or("rstrip", false);
      token.normalized = fields.boolean_or("normalized", false);
      tokens.push_back(std::move(token));
    }
    return tokens;
  }

  void place_added_token(const AddedToken& added) {
    Token& token = tables_->tokens[added.id];
    const auto known = ids_.find(added.content);
    const bool is_in_vocab = known != ids_.end();
    const bool is_free = is_in_vocab
                             ? known->second == added.id && token.kind == TokenKind::kOrdinary
                             : token.kind == TokenKind::kMissing;
    if (!is_free || !added_contents_.insert(added.content).second) {
      fail(ErrorCode::kData, "{}: added_tokens: {} (id {}) clashes with another token's text or id",
           file_, show_text(added.content), added.id);
    }
    if (is_in_vocab && token.bytes != added.content) {
      fail_unsupported(file_, "the added token " + show_text(added.content) +
                                  ", which is also an ordinary token of other text,");
    }
    token.kind = added.is_special ? TokenKind::kSpecial : TokenKind::kAdded;
    token.bytes = added.content;
  }

  void read_merges() {
    const json& merges = array_at(model_, file_ + ": model", "merges");
    if (static_cast<int64_t>(merges.size()) > MergeTable::kMaxMerges) {
      fail_unsupported(file_, fmt::format("model.merges with {} entries", merges.size()));
    }
    tables_->bpe.merges = MergeTable(static_cast<int64_t>(merges.size()));
    for (size_t i = 0; i < merges.size(); ++i) {
      const auto [left, right] = read_pair(merges[i], i);
      tables_->bpe.merges.add(merge_token(left, i), merge_token(right, i),
                              merge_token(std::string(left).append(right), i));
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
    if (it == ids_.end() || symbols.empty()) {
      fail(ErrorCode::kData, "{}: model.merges[{}]: the token {} is not in model.vocab", file_,
           index, show_text(symbols));
    }
    return it->second;
  }

  // Every byte that UTF-8 can have needs a token of its own, or some text could not be written.
  void read_byte_ids() {
    for (int value = 0; value < 256; ++value) {
      const uint8_t byte = static_cast<uint8_t>(value);
      const auto it = ids_.find(byte_symbol_utf8(byte));
      const bool is_in_utf8 = byte < 0xc0 || (byte > 0xc1 && byte < 0xf5);
      if (it == ids_.end() && is_in_utf8) {
        fail_unsupported(file_,
                         fmt::format("a model.vocab without a token for the byte 0x{:02x}", byte));
      }
      tables_->bpe.byte_ids[byte] = it == ids_.end() ? BpeModel::kNoId : it->second;
    }
  }

  // Special tokens stay out: plain text must never become control.
  void index_whole_pieces() {
    for (const auto& [symbols, id] : ids_) {
      const Token& token = tables_->tokens[id];
      if (token.kind != TokenKind::kSpecial && symbols_to_bytes(symbols)) {
        tables_->bpe.whole_pieces.emplace(token.bytes, id);
      }
    }
  }

  void read_post_processor(const json& processor, const std::string& where) {
    const JsonFields fields(processor, where);
    const std::string type = fields.string("type");
    if (type == "Sequence") {
      for (const json& part : array_at(fields, where, "processors"))
        read_post_processor(part, where);
    } else if (type == "TemplateProcessing") {
      read_template(fields, where);
    } else if (type != "ByteLevel") {  // that one only trims offsets
      fail_unsupported(where, show_text(type));
    }
  }

  void read_template(const JsonFields& fields, const std::string& where) {
    if (has_template_) fail_unsupported(where, "a second TemplateProcessing");
    has_template_ = true;
    bool after_text = false;
    for (const json& piece : array_at(fields, where, "single")) {
      const JsonFields piece_fields(piece, where + ".single");
      if (piece_fields.has("Sequence")) {
        const JsonFields sequence(piece_fields.at("Sequence"), where + ".single");
        if (sequence.string("id") != "A" || after_text) {
          fail_unsupported(where, "a single template with more than one text");
        }
        after_text = true;
        continue;
      }
      const JsonFields special(piece_fields.at("SpecialToken"), where + ".single");
      append_special(fields, special.string("id"), where,
                     after_text ? tables_->suffix : tables_->prefix);
    }
    if (!after_text) fail_unsupported(where, "a single template without the text");
  }

  void append_special(const JsonFields& fields, const std::string& name, const std::string& where,
                      std::vector<int32_t>& ids) const {
    const JsonFields specials(fields.at("special_tokens"), where + ".special_tokens");
    const JsonFields special(specials.at(name.c_str()), where + ".special_tokens");
    for (const json& value : array_at(special, where + ".special_tokens", "ids")) {
      const int32_t id = read_id(value, where + ".special_tokens", name);
      if (static_cast<size_t>(id) >= tables_->tokens.size() ||
          tables_->tokens[id].kind == TokenKind::kMissing) {
        fail(ErrorCode::kData, "{}: {} has the id {}, which no token has", where, show_text(name),
             id);
      }
      ids.push_back(id);
    }
  }

  const JsonFields root_;
  const std::string file_;
  const json& model_object_;
  const JsonFields model_;
  std::shared_ptr<Tokenizer::Tables> tables_;
  std::unordered_map<std::string_view, int32_t> ids_;  // by symbols, which the JSON owns
  std::unordered_set<std::string> added_contents_;
  bool has_template_ = false;
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

std::shared_ptr<const Tokenizer::Tables> read_tokenizer_tables(
    const std::filesystem::path& folder) {
  const std::filesystem::path path = folder / "tokenizer.json";
  const json root = read_json_file(path);
  require_known(root, path.string(),
                {"version", "truncation", "padding", "added_tokens", "normalizer", "pre_tokenizer",
                 "post_processor", "decoder", "model"});
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
