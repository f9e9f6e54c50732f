// UTF-8 by ICU's macros. Valid is what the Unicode standard calls well-formed (table 3-7): no
// overlong forms, no surrogates, nothing above U+10FFFF.
#pragma once

#include <unicode/utf8.h>

#include <cstddef>
#include <optional>
#include <string>
#include <string_view>

namespace chunkllm {

// Appends `bytes` to `text` with U+FFFD for each broken sequence (one for each maximal subpart,
// Unicode 3.9) and returns how many bytes were used. Bytes of a character that the text ends in are
// left, at most 3 of them, unless `is_end`.
size_t append_lossy(std::string_view bytes, bool is_end, std::string& text);

// Byte offset of the first invalid UTF-8 sequence, or nothing.
std::optional<size_t> find_invalid_utf8(std::string_view text);

// The text after a byte order mark that it begins with, which says UTF-8 and is no text.
std::string_view without_byte_order_mark(std::string_view text);

// Appends one character; U+FFFD for what is none (surrogates, above U+10FFFF).
void append_utf8(std::string& text, char32_t c);

// In lower case, as by Python's str.lower(): full mappings. Invalid UTF-8 becomes U+FFFD.
std::string lower_case(std::string_view text);

// All of it in one line: runs of ASCII white space and control characters are one blank, and none
// stands at an end.
std::string with_single_blanks(std::string_view text);

// Whether all bytes are below 0x80.
bool is_ascii(std::string_view bytes);

// Whether a byte of valid UTF-8 is the first of its character.
inline bool begins_character(char byte) { return !U8_IS_TRAIL(byte); }

struct CodePoint {
  char32_t value = 0;
  size_t n_bytes = 0;
};

// The code point at `offset` < text.size(); `text` must be valid UTF-8 and `offset` the begin of a
// character.
inline CodePoint code_point_at(std::string_view text, size_t offset) {
  size_t end = offset;
  UChar32 c = 0;
  U8_NEXT_UNSAFE(text.data(), end, c);
  return {static_cast<char32_t>(c), end - offset};
}

// The code point that ends at `end` > 0, under the same conditions.
inline CodePoint code_point_before(std::string_view text, size_t end) {
  U8_BACK_1_UNSAFE(text.data(), end);
  return code_point_at(text, end);
}

}  // namespace chunkllm
