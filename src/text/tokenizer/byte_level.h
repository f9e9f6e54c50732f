// The alphabet in which byte-level BPE vocabularies are written: each byte is shown as one
// printable character (Radford et al., GPT-2, 2019).
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

namespace chunkllm {

// The character that stands for `byte`: itself where it is printable Latin-1, else U+0100 and
// onwards in the order of the bytes.
char32_t byte_symbol(uint8_t byte);

// byte_symbol as UTF-8.
std::string byte_symbol_utf8(uint8_t byte);

// The bytes that a vocabulary entry (valid UTF-8) stands for, or nothing if it has a character
// outside the alphabet.
std::optional<std::string> symbols_to_bytes(std::string_view symbols);

}  // namespace chunkllm
