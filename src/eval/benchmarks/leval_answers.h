// What of an answer L-Eval (arXiv 2307.11088) compares with the one expected, and how.
#pragma once

#include <string>
#include <string_view>

namespace chunkllm {

// How a task of L-Eval is answered, and scored.
enum class LevalKind {
  kLetter,   // one of the choices A to D
  kLetters,  // one of them or several
  kNumber,   // ends with "The answer is N"
  kTopic,    // the name of a topic
  kTruth,    // True or False
  kText,     // an answer of its own: F1 and ROUGE-L
};

// Choices that an answer names: of kLetter the first of A to D in it; of kLetters those that it
// begins with if it begins with several, else those before a blank, a point or a bracket, up to the
// word "Question", in order and once each. "A" where there is none, as L-Eval guesses; nothing for
// an empty answer.
std::string leval_letters(std::string_view answer, LevalKind kind);

// The digits up to a point of what stands after "The answer is "; else of the last word of the
// first paragraph that has a digit. May be empty.
std::string leval_number(std::string_view answer);

// "true" or "false", whichever the first word that has one has; else empty.
std::string leval_truth(std::string_view answer);

// What of an expected answer counts: letters, digits, "true" or "false" (of the document; L-Eval's
// lines say what is so in the world, too), the text of the others. Empty if it has none.
std::string leval_expected(std::string_view expected, LevalKind kind);

// The exact match of closed tasks, 1 or 0; of kLetters a quarter if the answer names right choices
// alone, and not all of them. `expected` comes of leval_expected(). Throws no Error; of kText 0.
double leval_exact_match(std::string_view answer, std::string_view expected, LevalKind kind);

}  // namespace chunkllm
