#include "text/tokenizer/char_symbols.h"

#include <charconv>

#include "text/utf8.h"

namespace chunkllm {

std::optional<uint8_t> byte_of_name(std::string_view token) {
  if (token.size() != 6 || !token.starts_with("<0x") || token.back() != '>') return std::nullopt;
  uint8_t value = 0;
  const char* end = token.data() + 5;
  const auto result = std::from_chars(token.data() + 3, end, value, 16);
  if (result.ec != std::errc() || result.ptr != end) return std::nullopt;
  return value;
}

void CharSymbols::append(std::string_view piece, std::vector<int32_t>& ids) const {
  for (size_t offset = 0; offset < piece.size();) {
    const CodePoint c = code_point_at(piece, offset);
    size_t n_bytes = c.n_bytes;
    if (const auto it = char_ids.find(c.value); it != char_ids.end()) {
      ids.push_back(it->second);
    } else if (byte_ids) {
      for (const char byte : piece.substr(offset, n_bytes)) {
        ids.push_back((*byte_ids)[static_cast<uint8_t>(byte)]);
      }
    } else {
      ids.push_back(unknown_id);
      n_bytes = unknown_bytes(piece.substr(offset));
    }
    offset += n_bytes;
  }
}

size_t CharSymbols::unknown_bytes(std::string_view text) const {
  size_t n_bytes = code_point_at(text, 0).n_bytes;
  while (fuse_unknown && n_bytes < text.size()) {
    const CodePoint c = code_point_at(text, n_bytes);
    if (char_ids.contains(c.value)) break;
    n_bytes += c.n_bytes;
  }
  return n_bytes;
}

}  // namespace chunkllm
