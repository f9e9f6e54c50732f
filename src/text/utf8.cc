#include "text/utf8.h"

#include <unicode/locid.h>
#include <unicode/unistr.h>

#include <cstddef>
#include <cstdint>
#include <cstring>

namespace chunkllm {

namespace {

// Number of ASCII bytes at the front, counted in steps of 8 where that is possible.
size_t ascii_prefix(std::string_view bytes) {
  size_t n = 0;
  while (n + 8 <= bytes.size()) {
    uint64_t word;
    std::memcpy(&word, bytes.data() + n, sizeof word);
    if ((word & 0x8080808080808080u) != 0) break;
    n += 8;
  }
  while (n < bytes.size() && static_cast<uint8_t>(bytes[n]) < 0x80) ++n;
  return n;
}

const uint8_t* as_bytes(std::string_view text) {
  return reinterpret_cast<const uint8_t*>(text.data());
}

}  // namespace

size_t append_lossy(std::string_view bytes, bool is_end, std::string& text) {
  const uint8_t* data = as_bytes(bytes);
  auto n_whole = static_cast<ptrdiff_t>(bytes.size());  // signed: the macro steps below 0
  if (!is_end) U8_TRUNCATE_IF_INCOMPLETE(data, 0, n_whole);
  const auto end = static_cast<size_t>(n_whole);
  for (size_t next = 0; next < end;) {
    const size_t begin = next;
    if (const size_t n_ascii = ascii_prefix(bytes.substr(begin, end - begin)); n_ascii > 0) {
      text.append(bytes, begin, n_ascii);
      next += n_ascii;
      continue;
    }
    UChar32 c = 0;
    U8_NEXT(data, next, end, c);
    if (c < 0) {
      append_utf8(text, 0xfffd);
    } else {
      text.append(bytes, begin, next - begin);
    }
  }
  return end;
}

void append_utf8(std::string& text, char32_t c) {
  char bytes[U8_MAX_LENGTH];
  size_t n = 0;
  U8_APPEND_UNSAFE(bytes, n, U8_LENGTH(c) > 0 ? c : char32_t{0xfffd});
  text.append(bytes, n);
}

std::string lower_case(std::string_view text) {
  std::string lower;
  icu::UnicodeString::fromUTF8({text.data(), static_cast<int32_t>(text.size())})
      .toLower(icu::Locale::getRoot())
      .toUTF8String(lower);
  return lower;
}

std::string with_single_blanks(std::string_view text) {
  std::string line;
  for (const char c : text) {
    const bool is_blank = (c >= 0 && c <= ' ') || c == 0x7f;
    if (!is_blank) {
      line += c;
    } else if (!line.empty() && line.back() != ' ') {
      line += ' ';
    }
  }
  if (line.ends_with(' ')) line.pop_back();
  return line;
}

bool is_ascii(std::string_view bytes) { return ascii_prefix(bytes) == bytes.size(); }

std::optional<size_t> find_invalid_utf8(std::string_view text) {
  const uint8_t* data = as_bytes(text);
  size_t next = 0;
  while ((next += ascii_prefix(text.substr(next))) < text.size()) {
    const size_t begin = next;
    UChar32 c = 0;
    U8_NEXT(data, next, text.size(), c);
    if (c < 0) return begin;
  }
  return std::nullopt;
}

std::string_view without_byte_order_mark(std::string_view text) {
  constexpr std::string_view kMark = "\xef\xbb\xbf";
  if (text.starts_with(kMark)) text.remove_prefix(kMark.size());
  return text;
}

}  // namespace chunkllm
