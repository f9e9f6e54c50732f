// RULER's variable tracking.

#include <algorithm>

#include "base/error.h"
#include "data/block_items.h"
#include "data/ruler/noise.h"
#include "data/ruler/ruler.h"

namespace chunkllm {
namespace {

constexpr int64_t kNameLetters = 5;
// Of the example before the text. RULER's has as many lines of noise, in steps of five, as stay
// below 500 tokens.
constexpr int64_t kExampleNameLetters = 3;
constexpr int64_t kExampleNoiseLines = 10;

std::string make_name(Rng& rng, int64_t n_letters, TakenNames& taken) {
  while (true) {
    std::string name;
    for (int64_t i = 0; i < n_letters; ++i) name += static_cast<char>('A' + rng.below(26));
    if (taken.insert(name).second) return name;
  }
}

struct Chain {
  std::vector<std::string> names;
  std::string value;
};

// Text, question and answer of chains whose names have so many letters.
RulerText make_chains(Rng& rng, int64_t n_chains, int64_t n_hops, int64_t n_letters,
                      int64_t n_noise_lines) {
  TakenNames taken;
  std::vector<Chain> chains;
  for (int64_t i = 0; i < n_chains; ++i) {
    Chain chain;
    for (int64_t j = 0; j <= n_hops; ++j) chain.names.push_back(make_name(rng, n_letters, taken));
    chain.value = make_new_value(rng, "number5", taken);
    chains.push_back(std::move(chain));
  }
  const auto n_lines = static_cast<size_t>(std::max(n_noise_lines, n_hops + 2));
  std::vector<std::string> sentences(n_lines, std::string(kNoiseLine) + "\n");
  for (const Chain& chain : chains) {
    const std::vector<int64_t> places =
        draw_places(rng, std::ssize(sentences), std::ssize(chain.names));
    for (size_t j = 0; j < chain.names.size(); ++j) {
      const std::string sentence =
          j == 0 ? fmt::format("VAR {} = {}", chain.names[0], chain.value)
                 : fmt::format("VAR {} = VAR {} ", chain.names[j], chain.names[j - 1]);
      sentences.insert(sentences.begin() + places[j] + static_cast<int64_t>(j), sentence);
    }
  }
  RulerText text;
  text.text =
      "Memorize and track the chain(s) of variable assignment hidden in the following text.\n\n";
  for (size_t i = 0; i < sentences.size(); ++i) text.text += (i > 0 ? " " : "") + sentences[i];
  const Chain& asked = chains.front();
  text.questions.push_back(
      {fmt::format("\nQuestion: Find all variables that are assigned the value {} in the text "
                   "above.",
                   asked.value),
       fmt::format(" Answer: According to the chain(s) of variable assignment in the text above, "
                   "{} variables are assigned the value {}, they are: ",
                   n_hops + 1, asked.value),
       asked.names});
  return text;
}

}  // namespace

RulerText make_variable_text(Rng& rng, int64_t n_chains, int64_t n_hops, int64_t n_bytes) {
  const RulerText example =
      make_chains(rng, n_chains, n_hops, kExampleNameLetters, kExampleNoiseLines);
  const RetrievalQuestion& solved = example.questions[0];
  std::string head = example.text + solved.question + solved.answer_begin;
  for (const std::string& name : solved.expected) head += " " + name;
  RulerText text =
      make_chains(rng, n_chains, n_hops, kNameLetters, n_bytes / (std::ssize(kNoiseLine) + 2));
  text.text = head + "\n\n\n\n" + text.text;
  return text;
}

}  // namespace chunkllm
