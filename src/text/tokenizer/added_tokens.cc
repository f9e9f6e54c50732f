#include "text/tokenizer/added_tokens.h"

#include <unicode/uchar.h>

#include <algorithm>

#include "text/utf8.h"

namespace chunkllm {

namespace {

// \w of Rust's regular expressions (UTS 18, annex C).
bool is_word_char(char32_t value) {
  const UChar32 c = static_cast<UChar32>(value);
  constexpr uint32_t kMask = U_GC_M_MASK | U_GC_ND_MASK | U_GC_PC_MASK;
  return u_isUAlphabetic(c) || (U_GET_GC_MASK(c) & kMask) != 0 ||
         u_hasBinaryProperty(c, UCHAR_JOIN_CONTROL);
}

bool is_space(char32_t value) { return u_isUWhiteSpace(static_cast<UChar32>(value)); }

bool stands_alone(std::string_view text, size_t begin, size_t end) {
  return (begin == 0 || !is_word_char(code_point_before(text, begin).value)) &&
         (end == text.size() || !is_word_char(code_point_at(text, end).value));
}

}  // namespace

AddedTokens::AddedTokens(std::vector<AddedToken> tokens) : tokens_(std::move(tokens)) {
  for (uint32_t i = 0; i < tokens_.size(); ++i) {
    insert(tokens_[i].normalized ? normalized_ : raw_, tokens_[i].pattern, i);
  }
}

std::optional<uint32_t> AddedTokens::child(const Node& node, char byte) {
  for (const auto& [child_byte, index] : node.children) {
    if (child_byte == byte) return index;
  }
  return std::nullopt;
}

void AddedTokens::insert(Trie& trie, std::string_view pattern, uint32_t token) {
  if (pattern.empty()) return;
  if (trie.nodes.empty()) trie.nodes.emplace_back();
  trie.is_first_byte[static_cast<uint8_t>(pattern.front())] = true;
  uint32_t node = 0;
  for (const char byte : pattern) {
    if (const auto next = child(trie.nodes[node], byte)) {
      node = *next;
      continue;
    }
    const uint32_t added = static_cast<uint32_t>(trie.nodes.size());
    trie.nodes[node].children.emplace_back(byte, added);
    trie.nodes.emplace_back();
    node = added;
  }
  trie.nodes[node].token = token;
}

const AddedToken* AddedTokens::find(std::string_view content) const {
  const auto it = std::ranges::find(tokens_, content, &AddedToken::content);
  return it == tokens_.end() ? nullptr : &*it;
}

// The longest token that begins at `begin`, or nullptr.
const AddedToken* AddedTokens::longest_match(const Trie& trie, std::string_view text, size_t begin,
                                             const AllowsSpecial& allows_special) const {
  const AddedToken* longest = nullptr;
  uint32_t node = 0;
  for (size_t end = begin; end < text.size();) {
    const auto next = child(trie.nodes[node], text[end++]);
    if (!next) break;
    node = *next;
    if (const auto token = trie.nodes[node].token) {
      const AddedToken& found = tokens_[*token];
      if (!found.is_special || allows_special(begin, end)) longest = &found;
    }
  }
  return longest;
}

std::vector<TextSegment> AddedTokens::split(Pass pass, std::string_view text,
                                            const AllowsSpecial& allows_special) const {
  const Trie& trie = pass == Pass::kRaw ? raw_ : normalized_;
  std::vector<TextSegment> segments;
  const auto add = [&](int32_t id, size_t begin, size_t end) {
    if (begin < end) segments.push_back({id, begin, end});
  };
  size_t plain_begin = 0;
  for (size_t offset = 0; offset < text.size() && !trie.nodes.empty();) {
    if (!trie.is_first_byte[static_cast<uint8_t>(text[offset])]) {
      ++offset;
      continue;
    }
    const AddedToken* token = longest_match(trie, text, offset, allows_special);
    if (token == nullptr) {
      ++offset;
      continue;
    }
    size_t begin = offset;
    size_t end = begin + token->pattern.size();
    offset = end;
    if (token->single_word && !stands_alone(text, begin, end)) continue;
    while (token->lstrip && begin > plain_begin) {
      const CodePoint c = code_point_before(text, begin);
      if (!is_space(c.value)) break;
      begin -= c.n_bytes;
    }
    while (token->rstrip && end < text.size()) {
      const CodePoint c = code_point_at(text, end);
      if (!is_space(c.value)) break;
      end += c.n_bytes;
    }
    add(TextSegment::kPlainText, plain_begin, begin);
    add(token->id, begin, end);
    plain_begin = offset = end;
  }
  add(TextSegment::kPlainText, plain_begin, text.size());
  return segments;
}

}  // namespace chunkllm
