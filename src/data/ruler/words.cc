// RULER's common and frequent words.

#include <algorithm>
#include <cmath>

#include "base/error.h"
#include "data/block_items.h"
#include "data/facts.h"
#include "data/made_texts.h"
#include "data/ruler/ruler.h"

namespace chunkllm {
namespace {

constexpr int64_t kCommonWords = 10;

// A word of the lexicon that `taken` lacks, or, where these run out, one of random syllables.
std::string make_list_word(Rng& rng, TakenNames& taken) {
  constexpr std::string_view kRules[] = {
      "thing",     "place",        "abstract",  "matter",     "nature", "body",      "animal",
      "adj_thing", "adj_abstract", "adj_place", "adj_person", "manner", "occupation"};
  constexpr int kTries = 30;
  const auto is_letter = [](char c) { return c >= 'a' && c <= 'z'; };
  for (int i = 0; i < kTries; ++i) {
    std::string word = make_value(rng, pick_of(rng, kRules));
    if (std::ranges::all_of(word, is_letter) && taken.insert(word).second) return word;
  }
  while (true) {
    std::string word = make_word(rng, false);
    if (word.size() > 2 && taken.insert(word).second) return word;
  }
}

std::string join_words(const std::vector<std::string>& words) {
  std::string text;
  for (const std::string& word : words) text += (text.empty() ? "" : " ") + word;
  return text;
}

// "1. one 2. two".
std::string numbered(const std::vector<std::string>& words) {
  std::vector<std::string> items;
  for (const std::string& word : words) {
    items.push_back(fmt::format("{}. {}", items.size() + 1, word));
  }
  return join_words(items);
}

// How often words stand in a list.
struct WordCounts {
  int64_t common = 0;  // each of the common ones
  int64_t other = 0;
};

// A list of some size, at least `n_least` different words; common words are different in each.
RulerText make_list(Rng& rng, const WordCounts& counts, int64_t n_least, int64_t n_bytes,
                    TakenNames& taken) {
  std::vector<std::string> list;
  std::vector<std::string> common;
  int64_t size_bytes = 0;
  for (int64_t i = 0; i < n_least || size_bytes < n_bytes; ++i) {
    std::string word = make_list_word(rng, taken);
    const bool is_common = i < kCommonWords;
    const auto n = static_cast<size_t>(is_common ? counts.common : counts.other);
    list.insert(list.end(), n, word);
    const auto digits = static_cast<int64_t>(std::to_string(list.size()).size());
    size_bytes += static_cast<int64_t>(n) * (std::ssize(word) + digits + 3);
    if (is_common) common.push_back(std::move(word));
  }
  shuffle(rng, list);
  return {
      "Below is a numbered list of words. In these words, some appear more often than others. "
      "Memorize the ones that appear most often.\n" +
          numbered(list),
      {{"\nQuestion: What are the 10 most common words in the above list?",
        " Answer: The top 10 words that appear most often in the list are:", std::move(common)}}};
}

}  // namespace

RulerText make_common_words_text(Rng& rng, int64_t ctx, int64_t n_bytes) {
  const bool is_short = ctx < 4096;
  TakenNames taken;
  const RulerText example =
      is_short ? make_list(rng, {3, 1}, 20, 0, taken) : make_list(rng, {10, 3}, 40, 0, taken);
  const RetrievalQuestion& solved = example.questions[0];
  // The example's words may stand in the list again, as they may in RULER's.
  taken.clear();
  RulerText text = make_list(rng, is_short ? WordCounts{6, 1} : WordCounts{30, 3}, kCommonWords + 1,
                             n_bytes, taken);
  text.text = example.text + solved.question + solved.answer_begin + numbered(solved.expected) +
              "\n" + text.text;
  return text;
}

RulerText make_frequent_words_text(Rng& rng, int64_t ctx, int64_t n_bytes) {
  constexpr double kAlpha = 2;
  constexpr int64_t kWordLetters = 6;
  constexpr int64_t kTokensPerWord = 50;  // of the context, for each different word
  constexpr int64_t kLeastDifferent = 5;
  constexpr int64_t kLeastWords = 100;  // so that the third stands more often than the fourth
  constexpr int64_t kBytesPerWord = 5;
  const int64_t n_different = std::max(ctx / kTokensPerWord, kLeastDifferent);
  const int64_t n_words = std::max(n_bytes / kBytesPerWord, kLeastWords);
  TakenNames taken;
  std::vector<std::string> vocabulary;
  while (std::ssize(vocabulary) < n_different) {
    std::string word;
    for (int64_t i = 0; i < kWordLetters; ++i) word += static_cast<char>('a' + rng.below(26));
    if (taken.insert(word).second) vocabulary.push_back(std::move(word));
  }
  vocabulary[0] = "...";
  std::vector<std::string> words;
  const double zeta = std::riemann_zeta(kAlpha);
  for (size_t k = 0; k < vocabulary.size(); ++k) {
    const double share = std::pow(static_cast<double>(k + 1), -kAlpha) / zeta;
    words.insert(words.end(), static_cast<size_t>(static_cast<double>(n_words) * share),
                 vocabulary[k]);
  }
  shuffle(rng, words);
  return {
      "Read the following coded text and track the frequency of each coded word. Find the three "
      "most frequently appeared coded words. " +
          join_words(words),
      {{"\nQuestion: Do not provide any explanation. Please ignore the dots '....'. What are the "
        "three most frequently appeared words in the above coded text?",
        " Answer: According to the coded text above, the three most frequently appeared words are:",
        {vocabulary.begin() + 1, vocabulary.begin() + 4}}}};
}

}  // namespace chunkllm
