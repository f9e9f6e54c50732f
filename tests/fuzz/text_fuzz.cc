// Arbitrary text through the committed model's tokenizer and the sentence splitter.
#include "fuzz_folder.h"
#include "text/sentences.h"
#include "text/tokenizer/tokenizer.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace chunkllm;
  static const Tokenizer tokenizer =
      Tokenizer::from_folder(CHUNKLLM_SOURCE_DIR "/models/needle-6m");
  const std::string_view text = fuzz::as_text(data, size);
  fuzz::expect_answer([&] {
    const std::vector<int32_t> ids = tokenizer.encode(text, {.parse_special = false});
    if (tokenizer.decode(ids) != text) __builtin_trap();
    int64_t last = 0;
    for (const int64_t end : sentence_ends(text)) {
      if (end <= last || end > static_cast<int64_t>(size)) __builtin_trap();
      last = end;
    }
  });
  return 0;
}
