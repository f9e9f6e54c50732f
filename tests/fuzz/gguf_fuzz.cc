// A GGUF file: its structure, the configuration, the tokenizer, and the weights of a small model.
#include "engine/gguf_tokenizer.h"
#include "formats/gguf.h"
#include "fuzz_folder.h"
#include "model/checkpoint.h"
#include "model/gguf_config.h"
#include "text/chat/chat_template.h"
#include "text/tokenizer/tokenizer.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace chunkllm;
  const std::filesystem::path path = fuzz::folder() / "model.gguf";
  write_text(path, fuzz::as_text(data, size));
  fuzz::expect_answer([&] {
    const GgufFile file(path);
    fuzz::expect_answer([&] {
      const auto vocabulary = gguf_vocabulary(file);
      if (vocabulary) Tokenizer::from_gguf(*vocabulary).encode("It's 12 o'clock.");
      ChatTemplate::from_text(gguf_chat_template(file), path.string(), {});
    });
    const ModelConfig config = read_gguf_config(file);
    const Checkpoint checkpoint(path, config);
    for (const auto& [name, tensor] : checkpoint.tensors()) {
      fuzz::expect_answer([&, &view = tensor, &tensor_name = name] {
        if (view.shape.size() == 1) {
          checkpoint.vector(tensor_name, view.shape[0]);
        } else if (view.shape.size() == 2) {
          checkpoint.matrix(tensor_name, view.shape[0], view.shape[1]);
        }
      });
    }
  });
  return 0;
}
