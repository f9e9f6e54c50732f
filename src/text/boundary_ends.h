// Where chunks should end in a text: sentences in prose, lines in everything else.
#pragma once

#include <cstdint>
#include <string_view>
#include <vector>

namespace chunkllm {

// Byte offsets, ascending. A paragraph is what stands between blank lines.
//
// In prose, a paragraph of one line or hard-wrapped lines, they are those of sentence_ends(): one
// past the last character that is no space of each sentence; a blank line ends a sentence. A
// paragraph is hard-wrapped prose if it has at least three lines, most lines but the last have
// nearly the same width, and most line ends stand inside a sentence.
//
// Every other paragraph is structured text (code, JSON, tables, lists, logs, verse, dialogue): one
// past each line end, and besides, one past each sentence of words in a line that ends in a mark,
// as speeches and comments have. Its last line without a line end ends where the text does.
//
// Invalid UTF-8 is an Error (kData). Time linear in the length.
std::vector<int64_t> boundary_ends(std::string_view text);

// Whether a paragraph, a text without blank lines, is hard-wrapped prose.
bool is_hard_wrapped(std::string_view paragraph);

}  // namespace chunkllm
