// Added tokens: those that are found in the text before the model sees it, such as <|user|>.
#pragma once

#include <array>
#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace chunkllm {

// One entry of tokenizer.json's added_tokens.
struct AddedToken {
  int32_t id = 0;
  std::string content;       // valid UTF-8, not empty
  bool is_special = false;   // found only where special tokens are parsed
  bool single_word = false;  // found only where no letter, mark, digit or _ touches it
  bool lstrip = false;       // takes the white space before it
  bool rstrip = false;       // takes the white space after it
  bool normalized = false;  // looked for after all others, in what the normalizer makes of the rest
  std::string pattern;  // what is looked for: the content or, if normalized, its normalized form
};

// A part of a text, bytes [begin, end): an added token, or text for the model.
struct TextSegment {
  static constexpr int32_t kPlainText = -1;

  int32_t added_id = kPlainText;
  size_t begin = 0;
  size_t end = 0;
};

// Finds added tokens as Hugging Face tokenizers does: the leftmost first, of those the longest.
// Immutable once made; any thread may call it.
class AddedTokens {
 public:
  static constexpr size_t kMaxContentBytes = 1024;  // keeps the search linear in the text

  AddedTokens() = default;
  // Contents must differ from each other; patterns have at most kMaxContentBytes, and a token whose
  // pattern is empty is never found.
  explicit AddedTokens(std::vector<AddedToken> tokens);

  const std::vector<AddedToken>& tokens() const { return tokens_; }
  // The token with this content, or nullptr.
  const AddedToken* find(std::string_view content) const;

  enum class Pass { kRaw, kNormalized };
  // Whether a special token may be found at bytes [begin, end) of the text.
  using AllowsSpecial = std::function<bool(size_t begin, size_t end)>;

  // Cuts `text`, valid UTF-8, into segments that are not empty, at the tokens that are looked for
  // before (kRaw) or after (kNormalized) the normalizer.
  std::vector<TextSegment> split(Pass pass, std::string_view text,
                                 const AllowsSpecial& allows_special) const;

 private:
  // A trie over the contents of the tokens, byte by byte.
  struct Node {
    std::vector<std::pair<char, uint32_t>> children;
    std::optional<uint32_t> token;  // index into tokens_ of the content that ends here
  };
  struct Trie {
    std::vector<Node> nodes;                // the root first; empty if there are no tokens
    std::array<bool, 256> is_first_byte{};  // whether a token begins with it
  };

  static std::optional<uint32_t> child(const Node& node, char byte);
  static void insert(Trie& trie, std::string_view pattern, uint32_t token);
  const AddedToken* longest_match(const Trie& trie, std::string_view text, size_t begin,
                                  const AllowsSpecial& allows_special) const;

  std::vector<AddedToken> tokens_;
  Trie raw_;         // tokens with normalized = false
  Trie normalized_;  // the others
};

}  // namespace chunkllm
