// How a tokenizer rewrites text before it looks for words: the normalizers of tokenizer.json.
#pragma once

#include <string>
#include <string_view>
#include <variant>
#include <vector>

#include "text/tokenizer/text_layer.h"

namespace chunkllm {

// Unicode normalization form C. Text with more than kMaxMarks combining marks in a row is an Error
// (kUnsupported): ordering them takes time quadratic in their number.
struct NfcStep {
  static constexpr int kMaxMarks = 4096;
};

// Puts `text` before every text that is not empty.
struct PrependStep {
  std::string text;
};

// Puts `to` wherever `from`, which is not empty, stands.
struct ReplaceStep {
  std::string from;
  std::string to;
};

using NormalizerStep = std::variant<NfcStep, PrependStep, ReplaceStep>;

// Rewrites `layer` by one step, its new text being kept in `pool`. Texts are valid UTF-8. The way
// back is kept only `with_offsets`.
void apply_step(const NormalizerStep& step, TextLayer& layer, StringPool& pool, bool with_offsets);

// What the steps make of a text, one after the other.
std::string normalize(const std::vector<NormalizerStep>& steps, std::string_view text);

}  // namespace chunkllm
