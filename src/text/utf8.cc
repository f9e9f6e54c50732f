#include "text/utf8.h"

#include <cstring>
#include <optional>

#include "text/tokenizer/tokenizer.h"

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

}  // namespace

Utf8Sequence read_utf8(std::string_view bytes) {
  const uint8_t lead = static_cast<uint8_t>(bytes[0]);
  if (lead < 0x80) return {Utf8Status::kValid, 1};
  if (lead < 0xc2 || lead > 0xf4) return {Utf8Status::kInvalid, 1};
  const size_t n_bytes = lead < 0xe0 ? 2 : lead < 0xf0 ? 3 : 4;
  // Only the second byte has limits that depend on the first.
  uint8_t low = lead == 0xe0 ? 0xa0 : lead == 0xf0 ? 0x90 : 0x80;
  uint8_t high = lead == 0xed ? 0x9f : lead == 0xf4 ? 0x8f : 0xbf;
  for (size_t i = 1; i < n_bytes; ++i) {
    if (i == bytes.size()) return {Utf8Status::kIncomplete, i};
    const uint8_t byte = static_cast<uint8_t>(bytes[i]);
    if (byte < low || byte > high) return {Utf8Status::kInvalid, i};
    low = 0x80;
    high = 0xbf;
  }
  return {Utf8Status::kValid, n_bytes};
}

size_t append_lossy(std::string_view bytes, bool is_end, std::string& text) {
  size_t used = 0;
  while (used < bytes.size()) {
    const std::string_view rest = bytes.substr(used);
    if (const size_t n_ascii = ascii_prefix(rest); n_ascii > 0) {
      text.append(rest.substr(0, n_ascii));
      used += n_ascii;
      continue;
    }
    const Utf8Sequence sequence = read_utf8(rest);
    if (sequence.status == Utf8Status::kIncomplete && !is_end) break;
    if (sequence.status == Utf8Status::kValid) {
      text.append(rest.substr(0, sequence.n_bytes));
    } else {
      text.append("\xef\xbf\xbd");
    }
    used += sequence.n_bytes;
  }
  return used;
}

bool is_ascii(std::string_view bytes) { return ascii_prefix(bytes) == bytes.size(); }

std::optional<size_t> find_invalid_utf8(std::string_view text) {
  size_t offset = 0;
  while (true) {
    offset += ascii_prefix(text.substr(offset));
    if (offset == text.size()) return std::nullopt;
    const Utf8Sequence sequence = read_utf8(text.substr(offset));
    if (sequence.status != Utf8Status::kValid) return offset;
    offset += sequence.n_bytes;
  }
}

}  // namespace chunkllm
