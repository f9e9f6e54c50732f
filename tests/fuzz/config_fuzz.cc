// config.json and generation_config.json of a model.
#include "fuzz_folder.h"
#include "model/config.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace chunkllm;
  const auto [config, generation] = fuzz::split_files(fuzz::as_text(data, size));
  write_text(fuzz::folder() / "config.json", config);
  write_text(fuzz::folder() / "generation_config.json", generation.empty() ? "{}" : generation);
  fuzz::expect_answer([] {
    const ModelConfig read = read_model_config(fuzz::folder().path());
    for (const float frequency : rope_inverse_frequencies(read.rope, read.head_dim)) {
      if (!(frequency >= 0 && frequency <= 1)) __builtin_trap();
    }
  });
  return 0;
}
