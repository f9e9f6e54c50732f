// Text to token ids and back: BPE over bytes or characters as tokenizer.json (Hugging Face
// tokenizers) describes it.
#pragma once

#include <cstdint>
#include <filesystem>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace chunkllm {

struct GgufVocabulary;
class TextBegin;

struct EncodeOptions {
  bool add_special_tokens = false;  // apply the post-processor (a leading BOS, usually)
  bool parse_special = true;        // markers such as <|user|> in the text become their own tokens
};

// Bytes [begin, end) of a text.
struct ByteRange {
  size_t begin = 0;
  size_t end = 0;
};

// A token and the bytes [begin, end) of the encoded text that it stands for; together they tile it.
// Tokens that are put in are empty; of those that share a normalized character, the last one has
// it; what the vocabulary leaves out goes with the token after it.
struct TokenSpan {
  int32_t id = 0;
  int64_t begin = 0;
  int64_t end = 0;
};

// Immutable once made; any thread may call it. Copies share the tables.
class Tokenizer {
 public:
  // Reads DIR/tokenizer.json, and DIR/tokenizer_config.json where it is there. Throws Error (kIo,
  // kData, kUnsupported with the name of what is not supported).
  static Tokenizer from_folder(const std::filesystem::path& folder);

  // Of a GGUF file's metadata: the same tokens as from the tokenizer.json that they were made of.
  // Throws Error (kData, kUnsupported with the name of what is not supported).
  static Tokenizer from_gguf(const GgufVocabulary& vocabulary);

  // Throws Error (kData) if `text` is not valid UTF-8; the message gives the byte offset.
  std::vector<int32_t> encode(std::string_view text, EncodeOptions options = {}) const;
  std::vector<TokenSpan> encode_with_offsets(std::string_view text,
                                             EncodeOptions options = {}) const;

  // Markers become special tokens where they lie inside one of the `control` ranges, which are
  // ascending, and are plain text elsewhere. No post-processor.
  std::vector<TokenSpan> encode_marked(std::string_view text,
                                       std::span<const ByteRange> control) const;

  // Ids outside the vocabulary are an Error (kData). Bytes that are no valid UTF-8 become U+FFFD,
  // one for each maximal part of a character.
  std::string decode(std::span<const int32_t> ids, bool skip_special = false) const;

  // The raw bytes of one token inside a text (possibly a part of a character); of a special token,
  // its text.
  std::string_view token_bytes(int32_t id) const;

  // Whether a token has this id: a model's vocabulary may be padded, and ids may have gaps.
  bool has_token(int32_t id) const;
  bool is_special(int32_t id) const;
  std::vector<int32_t> special_ids() const;                           // ascending
  std::optional<int32_t> find_token(std::string_view content) const;  // an added token, by its text
  std::optional<int32_t> bos_id() const;  // tokenizer_config.json's bos_token
  std::optional<int32_t> eos_id() const;  // tokenizer_config.json's eos_token
  int64_t n_vocab() const;                // one more than the largest id

  struct Tables;

 private:
  friend class StreamDecoder;
  explicit Tokenizer(std::shared_ptr<const Tables> tables) : tables_(std::move(tables)) {}
  std::shared_ptr<const Tables> tables_;
};

// Turns a stream of tokens into text that is valid UTF-8 at every step: bytes of an unfinished
// character wait for the rest of it. One thread at a time.
class StreamDecoder {
 public:
  explicit StreamDecoder(Tokenizer tokenizer, bool skip_special = true);
  ~StreamDecoder();
  StreamDecoder(StreamDecoder&&) noexcept;
  // The text that this token completes; may be empty.
  std::string push(int32_t id);
  // What is left at the end, unfinished characters as U+FFFD.
  std::string finish();

 private:
  Tokenizer tokenizer_;
  bool skip_special_;
  std::unique_ptr<TextBegin> begin_;
  std::string pending_;
};

}  // namespace chunkllm
