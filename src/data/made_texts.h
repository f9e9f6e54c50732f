// Made-up text of every kind that adapters meet.
#pragma once

#include <array>
#include <cstdint>
#include <string>

#include "base/enum_names.h"
#include "base/random.h"

namespace chunkllm {

enum class TextKind { kProse, kDialogue, kCode, kJson, kTable, kList, kLog, kVerse };
template <>
inline constexpr auto kEnumNames<TextKind> =
    std::to_array<EnumName<TextKind>>({{TextKind::kProse, "prose"},
                                       {TextKind::kDialogue, "dialogue"},
                                       {TextKind::kCode, "code"},
                                       {TextKind::kJson, "json"},
                                       {TextKind::kTable, "table"},
                                       {TextKind::kList, "list"},
                                       {TextKind::kLog, "log"},
                                       {TextKind::kVerse, "verse"}});

// How much of the default corpus each kind is.
struct TextShare {
  TextKind kind;
  int64_t percent;
};
inline constexpr TextShare kTextShares[] = {{TextKind::kProse, 44}, {TextKind::kDialogue, 12},
                                            {TextKind::kCode, 16},  {TextKind::kJson, 12},
                                            {TextKind::kTable, 5},  {TextKind::kList, 4},
                                            {TextKind::kLog, 4},    {TextKind::kVerse, 3}};

// At least `n_bytes` bytes of one kind, in parts of different manners with a blank line between
// them: prose hard-wrapped at many widths or one line a paragraph, scripts and chat logs, programs
// in the shapes of Python, C and JavaScript, and so on. Some words are random syllables. Valid
// UTF-8. The same state of `rng` gives the same text on every machine.
std::string make_text_of(Rng& rng, TextKind kind, int64_t n_bytes);

// The same with parts of all kinds, by kTextShares, each a page at most.
std::string make_mixed_text(Rng& rng, int64_t n_bytes);

// A word that no lexicon has: syllables at random.
std::string make_word(Rng& rng, bool is_capital);

}  // namespace chunkllm
