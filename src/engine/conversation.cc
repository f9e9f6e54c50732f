#include "engine/conversation.h"

#include <algorithm>

#include "base/error.h"
#include "text/utf8.h"

namespace chunkllm {
namespace {

// Whether a piece of text ends between two characters.
bool ends_whole(std::string_view text, size_t offset) {
  return offset == text.size() || begins_character(text[offset]);
}

}  // namespace

Prompt Conversation::prompt(const std::string& user) const {
  std::vector<ChatMessage> messages;
  if (system_) messages.push_back({"system", *system_});
  std::vector<std::vector<int32_t>> answers;
  for (const Turn& turn : turns_) {
    messages.push_back({"user", turn.user});
    messages.push_back({"assistant", turn.answer});
    answers.push_back(turn.answer_ids);
  }
  messages.push_back({"user", user});
  return chat_prompt(engine_.tokenizer(), chat_template_, messages, answers);
}

void Conversation::add(const std::string& user, std::string_view shown,
                       std::span<const int32_t> ids) {
  turns_.push_back({user, std::string(shown), tokens_of_shown(engine_.tokenizer(), ids, shown)});
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
