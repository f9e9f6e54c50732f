// Where sentences end in running text.
#pragma once

#include <cstdint>
#include <string_view>
#include <vector>

namespace chunkllm {

// Byte offsets, ascending, one past the last character that is no space of each sentence. By ICU's
// sentence rules (Unicode UAX 29) filtered by abbreviations (CLDR's English ones and common ones
// that those lack): a question or call ends one even where a small letter follows. Single line ends
// inside a paragraph count as spaces, since many texts are hard-wrapped; a blank line ends a
// sentence. Invalid UTF-8 is an Error (kData). Time linear in the length.
std::vector<int64_t> sentence_ends(std::string_view text);

}  // namespace chunkllm
