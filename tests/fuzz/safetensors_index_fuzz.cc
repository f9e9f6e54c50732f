// model.safetensors.index.json beside one shard.
#include "formats/safetensors_model.h"
#include "fuzz_folder.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace chunkllm;
  const auto [index, shard] = fuzz::split_files(fuzz::as_text(data, size));
  write_text(fuzz::folder() / "model.safetensors.index.json", index);
  write_text(fuzz::folder() / "a.safetensors", shard);
  fuzz::expect_answer([] { SafetensorsModel{fuzz::folder().path()}; });
  return 0;
}
