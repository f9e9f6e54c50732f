#include "engine/answer.h"

#include <algorithm>
#include <utility>

namespace chunkllm {
namespace {

// Rows of the model that no token of the tokenizer has, as those that pad a vocabulary: they are no
// text. One that ends answers may be among them.
std::vector<int32_t> ids_without_token(const Tokenizer& tokenizer, int32_t n_logits,
                                       const std::vector<int32_t>& eos_ids) {
  std::vector<int32_t> ids;
  for (int32_t id = 0; id < n_logits; ++id) {
    if (!tokenizer.has_token(id) && std::ranges::find(eos_ids, id) == eos_ids.end()) {
      ids.push_back(id);
    }
  }
  return ids;
}

SamplingOptions sampling_of(const Tokenizer& tokenizer, const AnswerOptions& options,
                            int32_t n_logits) {
  SamplingOptions sampling = options.sampling;
  const std::vector<int32_t> tokenless = ids_without_token(tokenizer, n_logits, options.eos_ids);
  sampling.banned_ids.insert(sampling.banned_ids.end(), tokenless.begin(), tokenless.end());
  return sampling;
}

}  // namespace

Answer::Answer(const Tokenizer& tokenizer, const AnswerOptions& options, int32_t n_logits)
    : options_(options),
      sampler_(sampling_of(tokenizer, options, n_logits)),
      decoder_(tokenizer),
      stops_(options.stops) {
  if (options_.max_tokens < 1) finish("length");
}

std::optional<int32_t> Answer::next(std::span<const float> logits,
                                    std::span<const int32_t> history) {
  if (is_done()) return std::nullopt;
  const bool is_early = n_generated_ < options_.min_tokens;
  const int32_t token = sampler_.sample(
      logits, history, std::ssize(ids_),
      is_early ? std::span<const int32_t>(options_.eos_ids) : std::span<const int32_t>());
  ++n_generated_;
  if (is_end(token)) {
    stop_token_ = token;
    finish("stop");
    return std::nullopt;
  }
  ids_.push_back(token);
  const std::string piece = decoder_.push(token);
  text_ += n_generated_ < options_.min_tokens ? piece : stops_.push(piece);
  if (stops_.stop()) {
    finish("stop");
  } else if (n_generated_ >= options_.max_tokens) {
    finish("length");
  }
  return is_done() ? std::nullopt : std::optional(token);
}

bool Answer::is_end(int32_t token) const {
  return std::ranges::find(options_.eos_ids, token) != options_.eos_ids.end();
}

void Answer::finish(std::string reason) {
  finish_reason_ = std::move(reason);
  if (!stops_.stop()) text_ += stops_.push(decoder_.finish());
  if (stops_.stop()) finish_reason_ = "stop";
  text_ += stops_.finish();
}

std::string Answer::take_text() { return std::exchange(text_, {}); }

}  // namespace chunkllm
