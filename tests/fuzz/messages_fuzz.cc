// Messages of a chat in JSON.
#include "base/json.h"
#include "engine/prompt.h"
#include "fuzz_folder.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace chunkllm;
  static const Tokenizer tokenizer =
      Tokenizer::from_folder(CHUNKLLM_SOURCE_DIR "/models/needle-6m");
  const ChatTemplate format = ChatTemplate::named("needle");
  fuzz::expect_answer([&] {
    const std::vector<ChatMessage> messages =
        parse_messages(parse_ordered_json(fuzz::as_text(data, size), "messages"), "messages");
    const Prompt prompt = chat_prompt(tokenizer, format, messages);
    for (const int64_t end : prompt.ends) {
      if (end < 0 || end >= prompt.n_tokens()) __builtin_trap();
    }
  });
  return 0;
}
