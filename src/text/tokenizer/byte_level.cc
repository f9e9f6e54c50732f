#include "text/tokenizer/byte_level.h"

#include <array>

#include "text/utf8.h"

namespace chunkllm {

namespace {

constexpr int kNoByte = -1;
constexpr char32_t kSymbolEnd = 0x144;  // one past the largest symbol

constexpr bool shows_itself(int byte) {
  return (byte >= 0x21 && byte <= 0x7e) || (byte >= 0xa1 && byte <= 0xac) || byte >= 0xae;
}

constexpr std::array<char32_t, 256> make_symbols() {
  std::array<char32_t, 256> symbols{};
  char32_t next = 0x100;
  for (int byte = 0; byte < 256; ++byte) {
    symbols[byte] = shows_itself(byte) ? static_cast<char32_t>(byte) : next++;
  }
  return symbols;
}

constexpr std::array<char32_t, 256> kSymbols = make_symbols();

constexpr std::array<int, kSymbolEnd> make_bytes() {
  std::array<int, kSymbolEnd> bytes{};
  for (int& byte : bytes) byte = kNoByte;
  for (int byte = 0; byte < 256; ++byte) bytes[kSymbols[byte]] = byte;
  return bytes;
}

constexpr std::array<int, kSymbolEnd> kBytes = make_bytes();

}  // namespace

char32_t byte_symbol(uint8_t byte) { return kSymbols[byte]; }

std::string byte_symbol_utf8(uint8_t byte) {
  std::string text;
  append_utf8(text, byte_symbol(byte));
  return text;
}

std::optional<std::string> symbols_to_bytes(std::string_view symbols) {
  std::string bytes;
  for (size_t offset = 0; offset < symbols.size();) {
    const CodePoint symbol = code_point_at(symbols, offset);
    if (symbol.value >= kSymbolEnd || kBytes[symbol.value] == kNoByte) return std::nullopt;
    bytes.push_back(static_cast<char>(kBytes[symbol.value]));
    offset += symbol.n_bytes;
  }
  return bytes;
}

}  // namespace chunkllm
