// The two files of an adapter folder.
#include "fuzz_folder.h"
#include "select/chunk/adapter.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace chunkllm;
  const auto [config, tensors] = fuzz::split_files(fuzz::as_text(data, size));
  write_text(fuzz::folder() / "adapter_config.json", config);
  write_text(fuzz::folder() / "adapter_model.safetensors", tensors);
  fuzz::expect_answer([] { load_adapter(fuzz::folder().path()); });
  return 0;
}
