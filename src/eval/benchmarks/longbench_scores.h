// LongBench's (arXiv 2308.14508) metrics of English text and of code.
#pragma once

#include <array>
#include <string>
#include <string_view>
#include <vector>

#include "base/enum_names.h"

namespace chunkllm {

enum class LongbenchMetric {
  kF1,         // squad_f1()
  kRouge,      // rouge_l_by_sentence()
  kClass,      // one over the classes that the answer names, if the right one is among them
  kParagraph,  // the share of its numbers that are that of the paragraph
  kCount,      // the share of its numbers that are right
  kCode,       // fuzzy_ratio() of the first line of code
};
template <>
inline constexpr auto kEnumNames<LongbenchMetric> =
    std::to_array<EnumName<LongbenchMetric>>({{LongbenchMetric::kF1, "qa_f1_score"},
                                              {LongbenchMetric::kRouge, "rouge_score"},
                                              {LongbenchMetric::kClass, "classification_score"},
                                              {LongbenchMetric::kParagraph, "retrieval_score"},
                                              {LongbenchMetric::kCount, "count_score"},
                                              {LongbenchMetric::kCode, "code_sim_score"}});

// 0 to 1. `classes` are those of kClass. As LongBench does it: of named classes one that is a part
// of the right one's name is passed over, and the class after it with it. An `expected` of
// kParagraph without "Paragraph N" is met by nothing.
double longbench_score(LongbenchMetric metric, std::string_view answer, std::string_view expected,
                       const std::vector<std::string>& classes);

// The N of "Paragraph N", the first one; empty if there is none.
std::string_view paragraph_number(std::string_view text);

// The first line of an answer after the line ends that it begins with: all that counts of answers
// to questions asked with examples.
std::string_view first_line(std::string_view answer);

}  // namespace chunkllm
