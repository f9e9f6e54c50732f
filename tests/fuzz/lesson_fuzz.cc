// A lesson of a training.
#include "fuzz_folder.h"
#include "train/lesson_file.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace chunkllm;
  const std::filesystem::path path = fuzz::folder() / "00000.lesson";
  write_text(path, fuzz::as_text(data, size));
  fuzz::expect_answer([&] { LessonFile(path, R"({"a":1})", 1, 2); });
  return 0;
}
