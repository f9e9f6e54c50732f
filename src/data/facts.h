// Made-up names and values, and facts hidden in a text: the material of retrieval training and
// evaluation.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "base/random.h"
#include "base/range.h"

namespace chunkllm {

// A random subject or value: an alternative of a rule of the lexicon (person, city, object, words,
// hyphenated, color, number3, number5, number7, code, hex4, hex8, phrase, time, ...). Throws Error
// (kInvalidArgument) for a rule that there is not.
std::string make_value(Rng& rng, std::string_view rule);

// The ends of sentences after which a sentence of its own can stand, as hide_facts() says,
// ascending byte offsets. Throws Error (kData) if `text` is no valid UTF-8.
std::vector<int64_t> sentence_places(std::string_view text);

// `text` with each fact put between two of its sentences, as a sentence of its own after one space;
// the white space that followed the earlier sentence (a space, a line end, a blank line) then
// follows the fact. Fact i lies at a random sentence end in the i-th of n equal parts of the text;
// where that part has none that suits, at the nearest one after it, else before it. Ends inside a
// sentence of a narrator (`"Who?" he asked.`) and of headings do not suit. A text without one gets
// the facts at its end. `offsets`, if not null, gets the byte position of each fact's first byte in
// the result. Linear time. Throws Error (kData) if `text` is no valid UTF-8.
std::string hide_facts(std::string_view text, const std::vector<std::string>& facts, Rng& rng,
                       std::vector<int64_t>* offsets);

// The same with fact i at the sentence end that suits nearest to the share depths[i], 0 to 1, of
// the text; facts at one place are in the given order. `hidden`, if not null, gets the bytes of the
// facts in the result, ascending. Throws Error (kInvalidArgument) unless there is a depth a fact;
// (kData) if `text` is no valid UTF-8.
std::string hide_facts_at(std::string_view text, const std::vector<std::string>& facts,
                          const std::vector<double>& depths, std::vector<Range>* hidden);

}  // namespace chunkllm
