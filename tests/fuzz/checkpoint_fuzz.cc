// checkpoint.safetensors of a training.
#include "fuzz_folder.h"
#include "train/checkpoint.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace chunkllm;
  write_text(checkpoint_path(fuzz::folder().path()), fuzz::as_text(data, size));
  Adapter adapter;
  adapter.config.n_layers = 1;
  adapter.config.d_model = 2;
  adapter.config.adapter_dim = 1;
  adapter.boundary_weight.resize(2);
  adapter.layers.push_back({std::vector<float>(2), std::vector<float>(2)});
  fuzz::expect_answer([&] { load_checkpoint(fuzz::folder().path(), R"({"seed":1})", adapter); });
  return 0;
}
