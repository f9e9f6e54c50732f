// A template's text to tokens, with Jinja's rules for white space around tags (trim_blocks and
// lstrip_blocks on, as Hugging Face has them).
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace chunkllm::jinja {

enum class TokenKind {
  kData,  // text between tags
  kBlockBegin,
  kBlockEnd,
  kVariableBegin,
  kVariableEnd,
  kName,
  kString,  // its value
  kInteger,
  kFloat,
  kOperator,  // its characters
  kEnd,
};

struct Token {
  TokenKind kind = TokenKind::kEnd;
  std::string text;
  int line = 0;
};

// Throws Error (kData) with the line of what cannot be read. `source` must be valid UTF-8.
std::vector<Token> tokenize(std::string_view source);

}  // namespace chunkllm::jinja
