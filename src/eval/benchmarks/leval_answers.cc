#include "eval/benchmarks/leval_answers.h"

#include <algorithm>
#include <set>

#include "eval/benchmarks/python_text.h"
#include "text/utf8.h"

namespace chunkllm {
namespace {

constexpr std::string_view kChoices = "ABCD";

bool is_choice(char c) { return kChoices.find(c) != std::string_view::npos; }

bool is_ascii_digit(char c) { return c >= '0' && c <= '9'; }

std::string joined(const std::set<char>& letters) { return {letters.begin(), letters.end()}; }

// Choices that stand before a blank, a point or a bracket, in the text before the word "Question".
std::string marked_letters(std::string_view text) {
  text = text.substr(0, text.find("Question"));
  std::set<char> letters;
  for (size_t i = 0; i + 1 < text.size(); ++i) {
    if (!is_choice(text[i])) continue;
    const char32_t next = code_point_at(text, i + 1).value;
    if (next == U'.' || next == U')' || is_python_space(next)) letters.insert(text[i]);
  }
  return joined(letters);
}

// Digits of a word, up to a point.
std::string digits_of(std::string_view word) {
  std::string digits;
  for (const char c : word.substr(0, word.find('.'))) {
    if (is_ascii_digit(c)) digits += c;
  }
  return digits;
}

// Digits without zeros before them: numbers, and not their spellings, are compared.
std::string_view without_zeros(std::string_view digits) {
  return digits.substr(std::min(digits.find_first_not_of('0'), digits.size() - 1));
}

// Lower case without blanks.
std::string folded(std::string_view text) {
  std::string lower = lower_case(text);
  std::erase(lower, ' ');
  return lower;
}

// In the first line of more than one character.
bool names_topic(std::string_view answer, std::string_view topic) {
  for (const std::string_view line : split_at(answer, '\n')) {
    if (line.empty() || code_point_at(line, 0).n_bytes == line.size()) continue;
    answer = line;
    break;
  }
  return folded(answer).find(folded(topic)) != std::string::npos;
}

bool is_part_of(std::string_view letters, std::string_view all) {
  return std::ranges::all_of(letters,
                             [&](char c) { return all.find(c) != std::string_view::npos; });
}

}  // namespace

std::string leval_letters(std::string_view answer, LevalKind kind) {
  answer = python_lstrip(answer);
  if (kChoices.find(answer) != std::string_view::npos) return std::string(answer);
  if (kind == LevalKind::kLetter) {
    const auto first = std::ranges::find_if(answer, is_choice);
    return first != answer.end() ? std::string(1, *first) : "A";
  }
  const auto end = std::ranges::find_if_not(answer, is_choice);
  std::set<char> leading(answer.begin(), end);
  if (end - answer.begin() > 1) return joined(leading);
  const std::string marked = marked_letters({end, answer.end()});
  leading.insert(marked.begin(), marked.end());
  return leading.empty() ? "A" : joined(leading);
}

std::string leval_number(std::string_view answer) {
  constexpr std::string_view kSays = "The answer is ";
  // "is" may be followed by blanks alone; then it says nothing.
  for (size_t at = answer.find(kSays); at != std::string_view::npos;
       at = answer.find(kSays, at + 1)) {
    const std::string_view rest = answer.substr(at + kSays.size());
    if (rest.empty() || is_python_space(code_point_at(rest, 0).value)) continue;
    return digits_of(python_split(rest)[0]);
  }
  const std::vector<std::string_view> words = split_at(answer.substr(0, answer.find("\n\n")), ' ');
  const auto last = std::find_if(words.rbegin(), words.rend(), [](std::string_view word) {
    return std::ranges::any_of(word, is_ascii_digit);
  });
  return last != words.rend() ? digits_of(*last) : std::string();
}

std::string leval_truth(std::string_view answer) {
  const std::string lower = lower_case(answer);
  for (const std::string_view word : python_split(lower)) {
    if (word.find("true") != std::string_view::npos) return "true";
    if (word.find("false") != std::string_view::npos) return "false";
  }
  return {};
}

std::string leval_expected(std::string_view expected, LevalKind kind) {
  switch (kind) {
    case LevalKind::kLetter:
    case LevalKind::kLetters: {
      std::set<char> letters;
      const std::vector<std::string_view> words = python_split(expected);
      if (words.empty()) return {};
      for (const char c : words[0]) {
        if (is_choice(c)) letters.insert(c);
      }
      return joined(letters);
    }
    case LevalKind::kNumber:
      return leval_number(expected);
    case LevalKind::kTruth:
      return leval_truth(expected.substr(0, expected.find("[fact:")));
    case LevalKind::kTopic:
    case LevalKind::kText:
      return std::string(python_strip(expected));
  }
  return {};
}

double leval_exact_match(std::string_view answer, std::string_view expected, LevalKind kind) {
  answer = python_lstrip(answer);  // what plain text puts before an answer
  if (answer.empty()) return 0;
  switch (kind) {
    case LevalKind::kLetter:
    case LevalKind::kLetters: {
      const std::string letters = leval_letters(answer, kind);
      if (letters == expected) return 1;
      constexpr double kSome = 0.25;
      return is_part_of(letters, expected) ? kSome : 0;
    }
    case LevalKind::kNumber: {
      const std::string number = leval_number(answer);
      return !number.empty() && without_zeros(number) == without_zeros(expected) ? 1 : 0;
    }
    case LevalKind::kTopic:
      return names_topic(answer, expected) ? 1 : 0;
    case LevalKind::kTruth:
      return leval_truth(answer) == expected ? 1 : 0;
    case LevalKind::kText:
      return 0;
  }
  return 0;
}

}  // namespace chunkllm
