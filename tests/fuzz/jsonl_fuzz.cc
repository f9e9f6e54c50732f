// Training text in JSON lines, and the log of a training.
#include "data/corpus.h"
#include "fuzz_folder.h"
#include "train/progress_log.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace chunkllm;
  const std::filesystem::path path = fuzz::folder() / "a.jsonl";
  write_text(path, fuzz::as_text(data, size));
  fuzz::expect_answer([&] { read_corpus({path}); });
  fuzz::expect_answer([&] { read_progress_log(path); });
  return 0;
}
