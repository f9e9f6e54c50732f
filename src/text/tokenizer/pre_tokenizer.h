// Cuts text into the pieces inside which BPE merges. Tokenizer files give regular expressions or
// name a rule; each one that is supported has a hand-written function of the same meaning in linear
// time.
//
// Classes as in the engines that Hugging Face uses: \p{L} and \p{N} are Unicode general categories,
// \s the White_Space property, (?i:) folds case by Unicode, so that U+017F counts as s.
#pragma once

#include <cstddef>
#include <string_view>

namespace chunkllm {

// The end of the piece that begins at `begin`; `text` is valid UTF-8, `begin` < text.size() the
// begin of a character. Always more than `begin`. Walking through a text takes time linear in its
// length.
using PieceEnd = size_t (*)(std::string_view text, size_t begin);

// The function for the regular expression that a tokenizer.json splits by, or nullptr if it is not
// known.
PieceEnd find_pre_tokenizer(std::string_view regex);

extern const std::string_view kGpt2Regex;
extern const std::string_view kLlama3Regex;
extern const std::string_view kQwen2Regex;

size_t gpt2_piece_end(std::string_view text, size_t begin);    // kGpt2Regex
size_t llama3_piece_end(std::string_view text, size_t begin);  // kLlama3Regex
size_t qwen2_piece_end(std::string_view text, size_t begin);   // kQwen2Regex

// Each character of \p{N} alone, and what is between them.
size_t single_digit_piece_end(std::string_view text, size_t begin);
// Runs of \p{N}, and what is between them.
size_t digit_run_piece_end(std::string_view text, size_t begin);

}  // namespace chunkllm
