// English prose that the project makes itself, from a seed.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "base/random.h"

namespace chunkllm {

// Prose in the manner of public-domain novels and essays: chapters with headings, paragraphs
// separated by a blank line, narration, dialogue, reflections, letters and verse, with the names,
// abbreviations, numbers and punctuation that make the ends of sentences hard to see. It says
// nothing; its use is that what is learned on it about sentences holds for books. The manner
// changes every few chapters: the cast, the narrator (first or third person), the quotation marks
// (mostly "straight", else 'single' or curly), the dash, one or two spaces between sentences, and
// whether lines are hard-wrapped.
//
// UTF-8 of at least `n_bytes` bytes, ended after the first whole paragraph that reaches them and by
// a line end; empty if `n_bytes` is not positive. The same state of `rng` gives the same text on
// every machine.
std::string make_text(Rng& rng, int64_t n_bytes);

// Verse of the same kind, stanzas with a blank line between them: at least `n_bytes` bytes, ended
// after a stanza and by a line end.
std::string make_verse(Rng& rng, int64_t n_bytes);

// `paragraph` with its lines broken at spaces so that none exceeds `width` bytes, where words allow
// it; its own line ends are spaces.
std::string wrap_lines(std::string_view paragraph, size_t width);

}  // namespace chunkllm
