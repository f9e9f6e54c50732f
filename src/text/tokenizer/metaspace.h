// Words as SentencePiece writes them: a mark, mostly U+2581, stands for the space before a word.
#pragma once

#include <cstddef>
#include <string>
#include <string_view>
#include <unordered_set>

#include "text/tokenizer/text_layer.h"

namespace chunkllm {

inline constexpr std::string_view kMetaspaceMark = "\u2581";

// The pre-tokenizer Metaspace of tokenizer.json: spaces become marks, and a text that begins
// without one gets one.
struct Metaspace {
  enum class Prepend { kAlways, kFirst, kNever };  // kFirst: only at the begin of the whole text

  std::string mark{kMetaspaceMark};
  Prepend prepend = Prepend::kAlways;
  bool split = true;  // each mark begins a piece of its own

  // Rewrites `layer`, a text without added tokens that is not empty.
  void apply(TextLayer& layer, StringPool& pool, bool with_offsets) const;
};

// Where text written with marks may be cut without changing what BPE makes of it: before a mark,
// unless a token has the two characters around that place side by side.
struct WordCutter {
  enum class Cuts { kNever, kBetweenTokens, kEveryMark };

  Cuts cuts = Cuts::kNever;
  std::string mark{kMetaspaceMark};
  std::unordered_set<char32_t> before_mark;  // characters that a token has before a mark

  // Notes what `token`, the result of a merge, has inside. Valid UTF-8.
  void add_token(std::string_view token);

  // The end of the piece that begins at `begin` < text.size().
  size_t piece_end(std::string_view text, size_t begin) const;
};

}  // namespace chunkllm
