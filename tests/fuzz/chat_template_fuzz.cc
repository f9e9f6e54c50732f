// tokenizer_config.json with a chat template, which is read and run.
#include "fuzz_folder.h"
#include "text/chat/chat_template.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace chunkllm;
  write_text(fuzz::folder() / "tokenizer_config.json", fuzz::as_text(data, size));
  fuzz::expect_answer([] {
    ChatTemplate::from_folder(fuzz::folder().path()).render({{"user", "hello"}}, true);
  });
  return 0;
}
