#include "eval/benchmarks/answer_metrics.h"

#include <algorithm>
#include <cmath>
#include <map>
#include <set>
#include <vector>

#include "eval/benchmarks/python_text.h"
#include "text/utf8.h"

namespace chunkllm {
namespace {

using Words = std::vector<std::string_view>;

bool is_ascii_letter_or_digit(char c) {
  return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9');
}

bool is_ascii_punctuation(char c) { return c > ' ' && c < 0x7f && !is_ascii_letter_or_digit(c); }

bool is_article(std::string_view word) { return word == "a" || word == "an" || word == "the"; }

// Runs of ASCII letters and digits.
Words rouge_words(std::string_view text) {
  Words words;
  for (size_t at = 0; at < text.size();) {
    size_t end = at;
    while (end < text.size() && is_ascii_letter_or_digit(text[end])) ++end;
    if (end > at) words.push_back(text.substr(at, end - at));
    at = std::max(end, at + 1);
  }
  return words;
}

// lengths[i * (b.size() + 1) + j]: the longest common subsequence of the first i and j words.
std::vector<int32_t> subsequence_lengths(const Words& a, const Words& b) {
  const size_t n = b.size() + 1;
  std::vector<int32_t> lengths((a.size() + 1) * n);
  for (size_t i = 1; i <= a.size(); ++i) {
    for (size_t j = 1; j <= b.size(); ++j) {
      lengths[i * n + j] = a[i - 1] == b[j - 1]
                               ? lengths[(i - 1) * n + j - 1] + 1
                               : std::max(lengths[(i - 1) * n + j], lengths[i * n + j - 1]);
    }
  }
  return lengths;
}

// Adds the words of one longest common subsequence; of several the one that the package takes.
void add_common_words(const Words& expected, const Words& answer,
                      std::set<std::string_view>& common) {
  const std::vector<int32_t> lengths = subsequence_lengths(expected, answer);
  const size_t n = answer.size() + 1;
  size_t i = expected.size();
  size_t j = answer.size();
  while (i > 0 && j > 0) {
    if (expected[i - 1] == answer[j - 1]) {
      common.insert(expected[i - 1]);
      --i;
      --j;
    } else if (lengths[(i - 1) * n + j] > lengths[i * n + j - 1]) {
      --i;
    } else {
      --j;
    }
  }
}

// The words of each sentence; a sentence of blanks has one empty word.
std::vector<Words> sentences_of(std::string_view text) {
  std::vector<Words> sentences;
  for (const std::string_view piece : split_at(text, '.')) {
    if (piece.empty()) continue;
    Words words = python_split(piece);
    if (words.empty()) words.emplace_back();
    sentences.push_back(std::move(words));
  }
  return sentences;
}

double distinct_words(const std::vector<Words>& sentences) {
  std::set<std::string_view> words;
  for (const Words& sentence : sentences) words.insert(sentence.begin(), sentence.end());
  return static_cast<double>(words.size());
}

std::u32string code_points(std::string_view text) {
  std::u32string points;
  for (size_t at = 0; at < text.size();) {
    const CodePoint c = code_point_at(text, at);
    points.push_back(c.value);
    at += c.n_bytes;
  }
  return points;
}

// Characters in the matching blocks of difflib.SequenceMatcher(None, a, b).
class BlockMatcher {
 public:
  BlockMatcher(const std::u32string& a, const std::u32string& b)
      : a_(a), b_(b), ending_here_(b.size() + 1), ending_before_(b.size() + 1) {
    constexpr size_t kLong = 200;
    for (size_t j = 0; j < b.size(); ++j) places_[b[j]].push_back(j);
    if (b.size() < kLong) return;
    const size_t most = b.size() / 100 + 1;
    std::erase_if(places_, [&](const auto& entry) { return entry.second.size() > most; });
  }

  int64_t n_matching() {
    int64_t n = 0;
    std::vector<Block> waiting{{0, a_.size(), 0, b_.size()}};
    while (!waiting.empty()) {
      const Block in = waiting.back();
      waiting.pop_back();
      const Block match = longest_match(in);
      if (match.a_end == match.a_begin) continue;
      n += static_cast<int64_t>(match.a_end - match.a_begin);
      waiting.push_back({in.a_begin, match.a_begin, in.b_begin, match.b_begin});
      waiting.push_back({match.a_end, in.a_end, match.b_end, in.b_end});
    }
    return n;
  }

 private:
  struct Block {
    size_t a_begin, a_end, b_begin, b_end;
  };

  // The first of the longest among those that begin with no frequent character, then made longer
  // by whatever stands around it.
  Block longest_match(const Block& in) {
    Block best{in.a_begin, in.a_begin, in.b_begin, in.b_begin};
    std::ranges::fill(ending_before_, 0);
    for (size_t i = in.a_begin; i < in.a_end; ++i) {
      std::ranges::fill(ending_here_, 0);
      const auto places = places_.find(a_[i]);
      if (places != places_.end()) {
        for (const size_t j : places->second) {
          if (j < in.b_begin || j >= in.b_end) continue;
          const size_t size = ending_before_[j] + 1;  // of the match that ends with a[i] and b[j]
          ending_here_[j + 1] = size;
          if (size > best.a_end - best.a_begin) best = {i + 1 - size, i + 1, j + 1 - size, j + 1};
        }
      }
      std::swap(ending_here_, ending_before_);
    }
    while (best.a_begin > in.a_begin && best.b_begin > in.b_begin &&
           a_[best.a_begin - 1] == b_[best.b_begin - 1]) {
      --best.a_begin;
      --best.b_begin;
    }
    while (best.a_end < in.a_end && best.b_end < in.b_end && a_[best.a_end] == b_[best.b_end]) {
      ++best.a_end;
      ++best.b_end;
    }
    return best;
  }

  const std::u32string& a_;
  const std::u32string& b_;
  std::map<char32_t, std::vector<size_t>> places_;  // in b
  std::vector<size_t> ending_here_;                 // at j + 1
  std::vector<size_t> ending_before_;
};

}  // namespace

std::string squad_normalized(std::string_view text) {
  std::string plain = lower_case(text);
  std::erase_if(plain, is_ascii_punctuation);
  std::string without_articles;
  size_t begin = 0;  // of a run of word characters
  const auto end_run = [&](size_t end) {
    const std::string_view run = std::string_view(plain).substr(begin, end - begin);
    without_articles += is_article(run) ? " " : run;
  };
  for (size_t at = 0; at < plain.size();) {
    const CodePoint c = code_point_at(plain, at);
    if (!is_python_word(c.value)) {
      end_run(at);
      without_articles += std::string_view(plain).substr(at, c.n_bytes);
      begin = at + c.n_bytes;
    }
    at += c.n_bytes;
  }
  end_run(plain.size());
  std::string normalized;
  for (const std::string_view word : python_split(without_articles)) {
    if (!normalized.empty()) normalized += ' ';
    normalized += word;
  }
  return normalized;
}

double squad_f1(std::string_view answer, std::string_view expected) {
  const std::string answer_text = squad_normalized(answer);
  const std::string expected_text = squad_normalized(expected);
  const Words answer_words = python_split(answer_text);
  const Words expected_words = python_split(expected_text);
  std::map<std::string_view, int64_t> left;
  for (const std::string_view word : expected_words) ++left[word];
  double n_same = 0;
  for (const std::string_view word : answer_words) n_same += left[word]-- > 0 ? 1 : 0;
  if (n_same == 0) return 0;
  const double precision = n_same / static_cast<double>(answer_words.size());
  const double recall = n_same / static_cast<double>(expected_words.size());
  return 2 * precision * recall / (precision + recall);
}

double rouge_l(std::string_view answer, std::string_view expected) {
  const std::string answer_text = lower_case(answer);
  const std::string expected_text = lower_case(expected);
  const Words answer_words = rouge_words(answer_text);
  const Words expected_words = rouge_words(expected_text);
  const double n_common = subsequence_lengths(expected_words, answer_words).back();
  if (n_common == 0) return 0;
  const double precision = n_common / static_cast<double>(answer_words.size());
  const double recall = n_common / static_cast<double>(expected_words.size());
  return 2 * precision * recall / (precision + recall);
}

double rouge_l_by_sentence(std::string_view answer, std::string_view expected) {
  const std::vector<Words> answers = sentences_of(answer);
  const std::vector<Words> expecteds = sentences_of(expected);
  if (answers.empty() || expecteds.empty()) return 0;
  std::set<std::string_view> common;
  for (const Words& one : expecteds) {
    for (const Words& other : answers) add_common_words(one, other, common);
  }
  constexpr double kTiny = 1e-8;  // the package's, against division by zero
  const double recall = static_cast<double>(common.size()) / distinct_words(expecteds);
  const double precision = static_cast<double>(common.size()) / distinct_words(answers);
  return 2.0 * (precision * recall / (precision + recall + kTiny));
}

int64_t fuzzy_ratio(std::string_view a, std::string_view b) {
  if (a == b) return 100;
  if (a.empty() || b.empty()) return 0;
  const std::u32string points_a = code_points(a);
  const std::u32string points_b = code_points(b);
  const auto n_matching = static_cast<double>(BlockMatcher(points_a, points_b).n_matching());
  const auto n_all = static_cast<double>(points_a.size() + points_b.size());
  return static_cast<int64_t>(std::nearbyint(100 * (2.0 * n_matching / n_all)));
}

}  // namespace chunkllm
