#include "data/prompt_maker.h"

#include "base/error.h"

namespace chunkllm {

PromptMaker::PromptMaker(const Engine& engine) : engine_(engine) {
  try {
    chat_ = engine.chat_template();
  } catch (const Error& e) {
    if (e.code() != ErrorCode::kUnsupported) throw;  // a model without a chat template
  }
  if (!chat_) return;
  try {
    chat_->render({{"system", "s"}, {"user", "u"}}, true);
    has_system_ = true;
  } catch (const Error&) {
    has_system_ = false;  // templates refuse what they do not take
  }
}

Prompt PromptMaker::ask(const std::string& system, const std::string& user,
                        const std::string& lead) const {
  const std::string together = system.empty() ? user : system + "\n\n" + user;
  if (!chat_) return plain(together + lead);
  std::vector<ChatMessage> messages;
  if (!system.empty() && has_system_) messages.push_back({"system", system});
  messages.push_back({"user", has_system_ ? user : together});
  return chat_prompt(engine_.tokenizer(), *chat_, messages);
}

Prompt PromptMaker::begun(const std::string& user, const std::string& answer_begin) const {
  Prompt prompt = ask({}, user, answer_begin);
  if (chat_) begin_answer(engine_.tokenizer(), prompt, answer_begin);
  return prompt;
}

Prompt PromptMaker::plain(const std::string& text) const {
  return text_prompt(engine_.tokenizer(), text);
}

GenerateOptions PromptMaker::answer_options(int64_t max_tokens) const {
  GenerateOptions options;
  options.max_tokens = max_tokens;
  options.eos_ids = engine_.eos_ids();
  if (!has_chat()) options.stops = {"\n"};
  return options;
}

}  // namespace chunkllm
