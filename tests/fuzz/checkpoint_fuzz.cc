// checkpoint.safetensors of a training.
#include "fuzz_folder.h"
#include "train/checkpoint.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace chunkllm;
  write_text(checkpoint_path(fuzz::folder().path()), fuzz::as_text(data, size));
  std::vector<float> weight(2), gradient(2);
  const TrainedParameter parameter{"w", weight, gradient};
  AdamW optimizer({parameter}, {});
  AdamW* const optimizers[] = {&optimizer};
  fuzz::expect_answer([&] {
    load_checkpoint(fuzz::folder().path(), R"({"seed":1})",
                    {.parameters = {&parameter, 1}, .optimizers = optimizers});
  });
  return 0;
}
