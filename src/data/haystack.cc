#include "data/haystack.h"

#include <algorithm>

#include "base/error.h"
#include "data/facts.h"
#include "data/synthetic.h"
#include "text/sentences.h"
#include "text/utf8.h"

namespace chunkllm {

void fit_to_tokens(Rng& rng, int64_t ctx, int64_t n_bytes,
                   const std::function<int64_t(Rng& rng, int64_t n_bytes)>& make) {
  const Rng state = rng;
  while (true) {
    rng = state;
    const int64_t n_tokens = make(rng, n_bytes);
    if (n_tokens <= ctx) return;
    const double ratio = static_cast<double>(ctx) / static_cast<double>(n_tokens);
    n_bytes = static_cast<int64_t>(static_cast<double>(n_bytes) * ratio * 0.995) - 16;
    if (n_bytes <= 0) {
      fail(ErrorCode::kInvalidArgument,
           "{} tokens are too few for the facts and the questions about them; give a larger "
           "--ctx, or fewer --questions",
           ctx);
    }
  }
}

std::string_view whole_sentences(std::string_view text, int64_t n_bytes) {
  int64_t end = 0;
  for (const int64_t place : sentence_places(text)) {
    if (place <= n_bytes) end = place;
  }
  return end > 0 ? text.substr(0, static_cast<size_t>(end)) : text;
}

HaystackMaker::HaystackMaker(const Engine& engine, std::string_view text)
    : prompts_(engine), text_(text) {
  if (text.empty()) return;
  ends_ = sentence_ends(text);
  if (ends_.empty()) ends_ = {0};
}

std::string HaystackMaker::passage(Rng& rng, int64_t n_bytes) const {
  if (text_.empty()) return make_text(rng, n_bytes);
  std::string_view rest =
      text_.substr(static_cast<size_t>(ends_[static_cast<size_t>(rng.below(std::ssize(ends_)))]));
  std::string passage;
  const auto size = static_cast<size_t>(n_bytes);
  while (passage.size() < size) {
    passage += rest.substr(0, size - passage.size());
    rest = text_;
  }
  while (!passage.empty() && find_invalid_utf8(passage)) passage.pop_back();
  return passage;
}

Prompt HaystackMaker::prompt(const std::string& text, const std::string& question) const {
  if (has_chat()) return prompts_.ask({}, text + "\n\n" + question, {});
  return prompts_.plain(fmt::format("{}\n\nQuestion: {}\nAnswer:", text, question));
}

Haystack HaystackMaker::fit(
    Rng& rng, int64_t ctx, int64_t n_bytes,
    const std::function<TaskDocument(Rng& rng, int64_t n_bytes)>& make) const {
  Haystack haystack;
  fit_to_tokens(rng, ctx, n_bytes, [&](Rng& draw, int64_t size_bytes) {
    haystack = {};
    haystack.document = make(draw, size_bytes);
    for (const TaskQuestion& question : haystack.document.questions) {
      haystack.prompts.push_back(prompt(haystack.document.text, question.question));
      haystack.longest = std::max(haystack.longest, haystack.prompts.back().n_tokens());
    }
    return haystack.longest;
  });
  return haystack;
}

void AnswerCost::add(const GenerateResult& result) {
  decode += result.retention;
  prefill += result.prefill;
  n_prefilled += result.prompt_tokens - result.cached_tokens;
  prefill_seconds += result.prefill_seconds;
  n_decoded += result.generated_tokens - 1;
  decode_seconds += result.decode_seconds;
}

}  // namespace chunkllm
