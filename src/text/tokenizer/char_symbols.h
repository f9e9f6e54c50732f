// The symbols that BPE begins with where vocabularies are written in characters, as SentencePiece
// does: a token for each character, or for each of its bytes, or one for all that is unknown.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <string_view>
#include <unordered_map>
#include <vector>

namespace chunkllm {

// How a vocabulary names a byte, <0x00> to <0xFF>: its value, or nothing if `token` is no such
// name.
std::optional<uint8_t> byte_of_name(std::string_view token);

// Immutable once filled; any thread may call it.
struct CharSymbols {
  std::unordered_map<char32_t, int32_t> char_ids;
  std::optional<std::array<int32_t, 256>> byte_ids;  // for characters without a token, if it is set
  int32_t unknown_id = -1;                           // for them otherwise
  bool fuse_unknown = false;                         // neighbours that are unknown are one symbol

  // Appends the symbols of `piece`, valid UTF-8, to `ids`.
  void append(std::string_view piece, std::vector<int32_t>& ids) const;

  // Bytes at the begin of `text`, not empty, that one unknown symbol stands for.
  size_t unknown_bytes(std::string_view text) const;
};

}  // namespace chunkllm
