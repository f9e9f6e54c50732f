#include "engine/conversation.h"

#include <algorithm>

#include "base/error.h"

namespace chunkllm {
namespace {

// Whether a piece of text ends between two characters.
bool ends_whole(std::string_view text, size_t offset) {
  return offset == text.size() || (static_cast<uint8_t>(text[offset]) & 0xc0u) != 0x80u;
}

// Puts the tokens of the answers into the empty ones that the template encoded, before the token
// that it ends an answer with.
Prompt with_answers(const Prompt& encoded, const std::vector<std::span<const int32_t>>& answers) {
  Prompt prompt;
  int64_t copied = 0;
  const auto copy_until = [&](int64_t end) {
    prompt.ids.insert(prompt.ids.end(), encoded.ids.begin() + copied, encoded.ids.begin() + end);
    copied = end;
  };
  for (size_t i = 0; i < encoded.answers.size(); ++i) {
    const Range answer = encoded.answers[i];
    copy_until(answer.begin);
    prompt.ends.push_back(prompt.n_tokens() - 1);
    const int64_t begin = prompt.n_tokens();
    prompt.ids.insert(prompt.ids.end(), answers[i].begin(), answers[i].end());
    copied = std::max(answer.begin, answer.end - 1);
    copy_until(answer.end);
    prompt.answers.push_back({begin, prompt.n_tokens()});
  }
  copy_until(encoded.n_tokens());
  prompt.ends.push_back(prompt.n_tokens() - 1);
  return prompt;
}

}  // namespace

Prompt Conversation::prompt(const std::string& user) const {
  std::vector<ChatMessage> messages;
  if (!system_.empty()) messages.push_back({"system", system_});
  std::vector<std::span<const int32_t>> answers;
  for (const Turn& turn : turns_) {
    messages.push_back({"user", turn.user});
    messages.push_back({"assistant", ""});  // so that nothing of it joins a token beside it
    answers.emplace_back(turn.answer_ids);
  }
  messages.push_back({"user", user});
  const Prompt encoded = chat_prompt(engine_.tokenizer(), chat_template_, messages);
  if (encoded.answers.size() != answers.size()) {
    fail(ErrorCode::kUnsupported,
         "the chat format has places for {} earlier answers, the conversation {}; use another",
         encoded.answers.size(), answers.size());
  }
  return with_answers(encoded, answers);
}

void Conversation::add(const std::string& user, std::string_view shown,
                       std::span<const int32_t> ids) {
  turns_.push_back({user, tokens_of_shown(engine_.tokenizer(), ids, shown)});
}

void Conversation::clear() { turns_.clear(); }

std::vector<int32_t> tokens_of_shown(const Tokenizer& tokenizer, std::span<const int32_t> ids,
                                     std::string_view shown) {
  std::vector<int32_t> kept;
  size_t n_bytes = 0;  // of `shown` that `kept` makes up
  size_t n_whole = 0;  // tokens of `kept` up to the last that ends between two characters
  size_t n_whole_bytes = 0;
  for (const int32_t id : ids) {
    if (tokenizer.is_special(id)) continue;  // was not shown
    const std::string_view bytes = tokenizer.token_bytes(id);
    if (n_bytes == shown.size() || !shown.substr(n_bytes).starts_with(bytes)) break;
    kept.push_back(id);
    n_bytes += bytes.size();
    if (!ends_whole(shown, n_bytes)) continue;
    n_whole = kept.size();
    n_whole_bytes = n_bytes;
  }
  kept.resize(n_whole);
  const std::vector<int32_t> rest =
      tokenizer.encode(shown.substr(n_whole_bytes), {.parse_special = false});
  kept.insert(kept.end(), rest.begin(), rest.end());
  return kept;
}

}  // namespace chunkllm
