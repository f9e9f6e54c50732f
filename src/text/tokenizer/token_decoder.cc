#include "text/tokenizer/token_decoder.h"

#include <algorithm>
#include <iterator>
#include <optional>

#include "text/tokenizer/byte_level.h"
#include "text/tokenizer/char_symbols.h"
#include "text/tokenizer/normalizer.h"

namespace chunkllm {

std::string DecodeRules::bytes_of(std::string_view token) const {
  if (byte_level) {
    std::optional<std::string> bytes = symbols_to_bytes(token);
    return bytes ? std::move(*bytes) : std::string(token);
  }
  std::vector<NormalizerStep> steps;
  for (const auto& [from, to] : replacements) steps.push_back(ReplaceStep{from, to});
  std::string bytes = normalize(steps, token);
  if (byte_fallback) {
    if (const auto byte = byte_of_name(bytes)) bytes.assign(1, static_cast<char>(*byte));
  }
  return bytes;
}

void TextBegin::append(std::string_view token_bytes, bool is_added, std::string& bytes) {
  const bool drops_marks = drop_spaces_ && !is_added;
  drop_spaces_ = false;
  if (drops_marks) {
    std::ranges::copy_if(token_bytes, std::back_inserter(bytes), [](char c) { return c != ' '; });
    return;
  }
  const size_t n_spaces = std::min(token_bytes.find_first_not_of(' '), token_bytes.size());
  const size_t n_gone = std::min(n_spaces, static_cast<size_t>(n_strip_));
  n_strip_ = n_spaces < token_bytes.size() ? 0 : n_strip_ - static_cast<int64_t>(n_gone);
  bytes += token_bytes.substr(n_gone);
}

}  // namespace chunkllm
