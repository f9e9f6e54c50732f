// tokenizer.json, and a text for the tokenizer that comes of it.
#include "fuzz_folder.h"
#include "text/tokenizer/tokenizer.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace chunkllm;
  const auto [json, text] = fuzz::split_files(fuzz::as_text(data, size));
  write_text(fuzz::folder() / "tokenizer.json", json);
  fuzz::expect_answer([text = text] {
    const Tokenizer tokenizer = Tokenizer::from_folder(fuzz::folder().path());
    const std::vector<int32_t> ids = tokenizer.encode(text, {.add_special_tokens = true});
    StreamDecoder decoder(tokenizer, false);
    std::string streamed;
    for (const int32_t id : ids) streamed += decoder.push(id);
    streamed += decoder.finish();
    if (streamed != tokenizer.decode(ids)) __builtin_trap();
  });
  return 0;
}
