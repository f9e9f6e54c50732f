#include "data/ruler/ruler.h"

#include <algorithm>

#include "text/utf8.h"

namespace chunkllm {
namespace {

// The last one is for all other names.
constexpr RetrievalFamily kFamilies[] = {
    {.begin = "json", .answer_tokens = 128},
    {.begin = "niah", .answer_tokens = 128, .answer_mark = " The special magic "},
    {.begin = "vt", .answer_tokens = 30, .answer_mark = " Answer: According to the chain"},
    {.begin = "cwe", .answer_tokens = 120, .answer_mark = " Answer: The top 10 words"},
    {.begin = "fwe", .answer_tokens = 50, .answer_mark = " Answer: According to the coded"},
    {.begin = "qa", .answer_tokens = 32, .one_is_enough = true, .answer_mark = " Answer:"},
    {.begin = "", .answer_tokens = 128},
};

}  // namespace

const RetrievalFamily& retrieval_family(std::string_view task) {
  return *std::ranges::find_if(
      kFamilies, [&](const RetrievalFamily& family) { return task.starts_with(family.begin); });
}

double retrieval_score(const RetrievalFamily& family, std::string_view answer,
                       const std::vector<std::string>& expected) {
  if (expected.empty()) return 0;
  const std::string text = lower_case(answer);
  const auto n_found = std::ranges::count_if(expected, [&](const std::string& value) {
    return !value.empty() && text.find(lower_case(value)) != std::string::npos;
  });
  if (family.one_is_enough) return n_found > 0 ? 1 : 0;
  return static_cast<double>(n_found) / static_cast<double>(expected.size());
}

std::vector<int64_t> draw_places(Rng& rng, int64_t n, int64_t k) {
  std::vector<int64_t> places;
  while (std::ssize(places) < k) {
    const int64_t place = rng.below(n);
    if (std::ranges::find(places, place) == places.end()) places.push_back(place);
  }
  std::ranges::sort(places);
  return places;
}

}  // namespace chunkllm
