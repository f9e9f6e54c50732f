// How tokens become bytes of text again: the decoders of tokenizer.json.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace chunkllm {

struct DecodeRules {
  bool byte_level = false;     // tokens are written in the alphabet of byte_level.h
  bool byte_fallback = false;  // <0x00> to <0xFF> are bytes
  std::vector<std::pair<std::string, std::string>> replacements;  // in every token, in this order
  int64_t strip_spaces = 0;        // at most so many spaces at the begin of a text go
  bool first_has_no_mark = false;  // the first token loses all its marks (decoder Metaspace)

  // The bytes that a token of the vocabulary, valid UTF-8, stands for.
  std::string bytes_of(std::string_view token) const;
};

// Applies what the rules say about the begin of a text, token by token.
class TextBegin {
 public:
  explicit TextBegin(const DecodeRules& rules)
      : drop_spaces_(rules.first_has_no_mark), n_strip_(rules.strip_spaces) {}

  // Appends what is left of the bytes of the next token. Spaces of an added token are no marks.
  void append(std::string_view token_bytes, bool is_added, std::string& bytes);

 private:
  bool drop_spaces_;
  int64_t n_strip_;
};

}  // namespace chunkllm
