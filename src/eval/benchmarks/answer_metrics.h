// How like an answer is to the one expected, as published benchmarks measure it: the same numbers
// as their Python code gives (tests/golden/answer_metrics.json). All need valid UTF-8 and give 0 to
// 1 if not said otherwise.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

namespace chunkllm {

// SQuAD's (arXiv 1606.05250) form of an answer: lower case, without ASCII punctuation and English
// articles, words one blank apart.
std::string squad_normalized(std::string_view text);

// SQuAD's F1 over the words of both, normalised. 0 where one has none.
double squad_f1(std::string_view answer, std::string_view expected);

// ROUGE-L's F (Lin 2004) over the runs of ASCII letters and digits of the lower-case texts: the
// package `rouge-score` without its stemmer.
double rouge_l(std::string_view answer, std::string_view expected);

// ROUGE-L's F as the package `rouge` has it: sentences end at points, words at blanks, and all
// words of the longest common subsequences of pairs of sentences count once, over the distinct
// words of each text. 0 where one has no sentence.
double rouge_l_by_sentence(std::string_view answer, std::string_view expected);

// How alike two texts are, 0 to 100: `fuzzywuzzy`'s ratio over Python's difflib, matching blocks by
// code points. In texts of 200 characters and more those that make up over a hundredth begin no
// match, as there.
int64_t fuzzy_ratio(std::string_view a, std::string_view b);

}  // namespace chunkllm
