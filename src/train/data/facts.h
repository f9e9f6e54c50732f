// Made-up facts, hidden in a text and asked for: the material of retrieval training and evaluation.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "base/random.h"
#include "base/range.h"

namespace chunkllm {

enum class FactKind {
  kNamedAfter,   // The secret code of Alice is 48213. / What is the secret code of Alice?
  kPossessive,   // Clara's access code is green-417. / What is Clara's access code?
  kMagicNumber,  // One of the special magic numbers for quiet-river is: 7391842. /
                 // What is the special magic number for quiet-river mentioned in the provided text?
  kBestThing,    // The best thing to do in Dublin is sit by the fountain on a sunny day. /
                 // What is the best thing to do in Dublin?
  kKeyValue,     // "bright engine": "5583022" / What is the value of the key "bright engine"?
};
inline constexpr FactKind kFactKinds[] = {FactKind::kNamedAfter, FactKind::kPossessive,
                                          FactKind::kMagicNumber, FactKind::kBestThing,
                                          FactKind::kKeyValue};

// All but kKeyValue are sentences that end in a full stop.
bool is_sentence(FactKind kind);

struct Fact {
  std::string sentence;
  std::string question;
  std::string answer;  // the value alone: a number, code, name, place, time, hex string or phrase
};

// A random subject or value: an alternative of a rule of the lexicon (person, city, object, words,
// hyphenated, color, number3, number5, number7, code, hex4, hex8, phrase, time, ...). Throws Error
// (kInvalidArgument) for a rule that there is not.
std::string make_value(Rng& rng, std::string_view rule);

// A random fact of a random kind, or of the given one. Somebody's secret code may also be a phone
// number, a birthplace, a time and the like, and a key's value a hex string or words.
Fact make_fact(Rng& rng);
Fact make_fact(Rng& rng, FactKind kind);

// The most facts that make_facts can tell apart in one document.
inline constexpr int64_t kMaxFacts = 4096;

// Facts about different subjects: no two share a person, place or key (so no question either), nor
// an answer. Throws Error (kInvalidArgument) unless 0 <= n <= kMaxFacts.
std::vector<Fact> make_facts(Rng& rng, int64_t n);

// Whether `generated`, white space before it left out, begins with the fact's answer and the answer
// ends there: at the end, or before anything but a letter or digit. Case-sensitive. Invalid UTF-8
// after the answer counts as no letter.
bool answer_matches(std::string_view generated, const Fact& fact);

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
std::string hide_facts(std::string_view text, const std::vector<Fact>& facts, Rng& rng,
                       std::vector<int64_t>* offsets);

// A document with hidden facts, and those of them that are asked for.
struct RetrievalChat {
  std::string document;
  std::vector<Fact> asked;             // in random order
  std::vector<int64_t> asked_offsets;  // byte position of each in the document
  std::vector<Range> hidden;           // ascending, the bytes of every hidden fact
};

// Hides `n_hidden` facts in `text` and chooses `n_asked` of them. Throws Error (kInvalidArgument)
// unless 0 <= n_asked <= n_hidden <= kMaxFacts.
RetrievalChat make_retrieval_chat(Rng& rng, std::string_view text, int64_t n_hidden,
                                  int64_t n_asked);

// The user turn that asks for fact `index` of `chat`: document, blank line, question. A chat that
// goes on to ask more about the same document asks the later questions alone.
std::string user_turn(const RetrievalChat& chat, size_t index);

}  // namespace chunkllm
