// UTF-8, read byte by byte as the Unicode standard defines it (table 3-7): no overlong forms, no
// surrogates, nothing above U+10FFFF.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

namespace chunkllm {

enum class Utf8Status {
  kValid,
  kInvalid,     // these bytes can never begin a character
  kIncomplete,  // the text ends inside a character that is right so far
};

struct Utf8Sequence {
  Utf8Status status = Utf8Status::kValid;
  size_t n_bytes = 0;  // of the character; of a broken one, the bytes that one U+FFFD stands for
};

// The first character of `bytes`, which must not be empty.
Utf8Sequence read_utf8(std::string_view bytes);

// Appends `bytes` to `text` with U+FFFD for each broken sequence (one for each maximal subpart,
// Unicode 3.9) and returns how many bytes were used. Bytes of a character that the text ends in are
// left, at most 3 of them, unless `is_end`.
size_t append_lossy(std::string_view bytes, bool is_end, std::string& text);

// Whether all bytes are below 0x80.
bool is_ascii(std::string_view bytes);

struct CodePoint {
  char32_t value = 0;
  size_t n_bytes = 0;
};

// The code point at `offset` < text.size(); `text` must be valid UTF-8 and `offset` the begin of a
// character.
inline CodePoint code_point_at(std::string_view text, size_t offset) {
  const auto byte = [&](size_t i) { return static_cast<uint8_t>(text[offset + i]); };
  const auto low_bits = [&](size_t i) { return static_cast<char32_t>(byte(i) & 0x3fu); };
  const char32_t lead = byte(0);
  if (lead < 0x80) return {lead, 1};
  if (lead < 0xe0) return {(lead & 0x1f) << 6 | low_bits(1), 2};
  if (lead < 0xf0) return {(lead & 0x0f) << 12 | low_bits(1) << 6 | low_bits(2), 3};
  return {(lead & 0x07) << 18 | low_bits(1) << 12 | low_bits(2) << 6 | low_bits(3), 4};
}

// The code point that ends at `end` > 0, under the same conditions.
inline CodePoint code_point_before(std::string_view text, size_t end) {
  size_t begin = end - 1;
  while ((static_cast<uint8_t>(text[begin]) & 0xc0u) == 0x80u) --begin;
  return code_point_at(text, begin);
}

}  // namespace chunkllm
