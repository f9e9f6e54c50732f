#include "eval/benchmarks/longbench_scores.h"

#include <algorithm>

#include "eval/benchmarks/answer_metrics.h"
#include "eval/benchmarks/python_text.h"

namespace chunkllm {
namespace {

bool contains(std::string_view text, std::string_view part) {
  return text.find(part) != std::string_view::npos;
}

std::string_view without_line_ends(std::string_view text) {
  return text.substr(std::min(text.find_first_not_of('\n'), text.size()));
}

// The share of the answer's numbers that are written so.
double share_of_numbers(std::string_view answer, std::string_view expected) {
  const std::vector<std::string_view> numbers = find_numbers(answer);
  if (numbers.empty()) return 0;
  return static_cast<double>(std::ranges::count(numbers, expected)) /
         static_cast<double>(numbers.size());
}

double class_score(std::string_view answer, std::string_view expected,
                   const std::vector<std::string>& classes) {
  std::vector<std::string_view> named;
  for (const std::string& name : classes) {
    if (contains(answer, name)) named.push_back(name);
  }
  for (size_t i = 0; i < named.size(); ++i) {
    if (contains(expected, named[i]) && named[i] != expected) {
      named.erase(named.begin() + static_cast<std::ptrdiff_t>(i));
    }
  }
  if (std::ranges::find(named, expected) == named.end()) return 0;
  return 1.0 / static_cast<double>(named.size());
}

// The first line that is neither a comment nor a fence.
std::string_view code_line(std::string_view answer) {
  for (const std::string_view line : split_at(without_line_ends(answer), '\n')) {
    if (!contains(line, "`") && !contains(line, "#") && !contains(line, "//")) return line;
  }
  return {};
}

}  // namespace

std::string_view paragraph_number(std::string_view text) {
  constexpr std::string_view kParagraph = "Paragraph ";
  for (size_t at = text.find(kParagraph); at != std::string_view::npos;
       at = text.find(kParagraph, at + 1)) {
    const std::string_view rest = text.substr(at + kParagraph.size());
    const std::vector<std::string_view> numbers = find_numbers(rest);
    if (!numbers.empty() && numbers[0].data() == rest.data()) return numbers[0];
  }
  return {};
}

std::string_view first_line(std::string_view answer) {
  answer = without_line_ends(answer);
  return answer.substr(0, answer.find('\n'));
}

double longbench_score(LongbenchMetric metric, std::string_view answer, std::string_view expected,
                       const std::vector<std::string>& classes) {
  switch (metric) {
    case LongbenchMetric::kF1:
      return squad_f1(answer, expected);
    case LongbenchMetric::kRouge:
      return rouge_l_by_sentence(answer, expected);
    case LongbenchMetric::kClass:
      return class_score(answer, expected, classes);
    case LongbenchMetric::kParagraph:
      return share_of_numbers(answer, paragraph_number(expected));
    case LongbenchMetric::kCount:
      return share_of_numbers(answer, expected);
    case LongbenchMetric::kCode:
      return static_cast<double>(fuzzy_ratio(code_line(answer), expected)) / 100;
  }
  return 0;
}

}  // namespace chunkllm
