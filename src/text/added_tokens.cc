#include "text/added_tokens.h"

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
    insert(tokens_[i].normalized ? normalized_ : raw_, tokens_[i].content, i);
  }
}

std::optional<uint32_t> AddedTokens::child(const Node& node, char byte) {
  for (const auto& [child_byte, index] : node.children) {
    if (child_byte == byte) return index;
  }
  return std::nullopt;
}

void AddedTokens::insert(Trie& trie, std::string_view content, uint32_t token) {
  if (trie.empty()) trie.emplace_back();
  uint32_t node = 0;
  for (const char byte : content) {
    if (const auto next = child(trie[node], byte)) {
      node = *next;
      continue;
    }
    const uint32_t added = static_cast<uint32_t>(trie.size());
    trie[node].children.emplace_back(byte, added);
    trie.emplace_back();
    node = added;
  }
  trie[node].token = token;
}

const AddedToken* AddedTokens::find(std::string_view content) const {
  const auto it = std::ranges::find(tokens_, content, &AddedToken::content);
  return it == tokens_.end() ? nullptr : &*it;
}

// The longest token that `text` begins with, or nullptr.
const AddedToken* AddedTokens::longest_match(const Trie& trie, std::string_view text,
                                             bool parse_special) const {
  const AddedToken* longest = nullptr;
  uint32_t node = 0;
  for (const char byte : text) {
    const auto next = child(trie[node], byte);
    if (!next) break;
    node = *next;
    if (const auto token = trie[node].token) {
      const AddedToken& found = tokens_[*token];
      if (parse_special || !found.is_special) longest = &found;
    }
  }
  return longest;
}

// Appends the parts of a plain segment of `text`. A token sees no further than the segment.
void AddedTokens::split_segment(const Trie& trie, std::string_view text, TextSegment segment,
                                bool parse_special, std::vector<TextSegment>& segments) const {
  const std::string_view window = text.substr(0, segment.end).substr(segment.begin);
  size_t plain_begin = 0;
  const auto add = [&](int32_t id, size_t begin, size_t end) {
    if (begin < end) segments.push_back({id, segment.begin + begin, segment.begin + end});
  };
  for (size_t offset = 0; offset < window.size();) {
    const AddedToken* token = longest_match(trie, window.substr(offset), parse_special);
    if (token == nullptr) {
      ++offset;
      continue;
    }
    size_t begin = offset;
    size_t end = begin + token->content.size();
    offset = end;
    if (token->single_word && !stands_alone(window, begin, end)) continue;
    while (token->lstrip && begin > plain_begin) {
      const CodePoint c = code_point_before(window, begin);
      if (!is_space(c.value)) break;
      begin -= c.n_bytes;
    }
    while (token->rstrip && end < window.size()) {
      const CodePoint c = code_point_at(window, end);
      if (!is_space(c.value)) break;
      end += c.n_bytes;
    }
    add(TextSegment::kPlainText, plain_begin, begin);
    add(token->id, begin, end);
    plain_begin = offset = end;
  }
  add(TextSegment::kPlainText, plain_begin, window.size());
}

std::vector<TextSegment> AddedTokens::split(std::string_view text, bool parse_special) const {
  std::vector<TextSegment> segments;
  if (!text.empty()) segments.push_back({TextSegment::kPlainText, 0, text.size()});
  for (const Trie* trie : {&raw_, &normalized_}) {
    if (trie->empty()) continue;
    std::vector<TextSegment> parts;
    for (const TextSegment& segment : segments) {
      if (segment.added_id == TextSegment::kPlainText) {
        split_segment(*trie, text, segment, parse_special, parts);
      } else {
        parts.push_back(segment);
      }
    }
    segments = std::move(parts);
  }
  return segments;
}

}  // namespace chunkllm
