// A safetensors file.
#include "formats/safetensors.h"
#include "fuzz_folder.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace chunkllm;
  const std::filesystem::path path = fuzz::folder() / "model.safetensors";
  write_text(path, fuzz::as_text(data, size));
  fuzz::expect_answer([&] {
    const SafetensorsFile file(path);
    for (const auto& [name, tensor] : file.tensors()) {
      if (tensor.n_elements() < 1000) file.require_floats(name, tensor.shape);
    }
  });
  return 0;
}
