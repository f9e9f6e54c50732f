// Ctrl-C: the program ends with 130 and one line, and what it wrote can be used.

#include "cli/bad_input.h"

namespace chunkllm {
namespace {

using Arguments = std::vector<std::string>;

RunOptions interrupt_when(std::function<bool(const ProgramResult&)> condition) {
  RunOptions options;
  options.interrupt_when = std::move(condition);
  return options;
}

RunOptions interrupt_after_first_record(const Scratch& scratch) {
  return interrupt_when([log = scratch.path("out") / "train.jsonl"](const ProgramResult&) {
    return read_text(log).find('\n') != std::string::npos;
  });
}

TEST(Interrupt, GenerateEndsInOneLine) {
  // Sampled at random the text goes on until the context is full.
  const ProgramResult result = run_program(
      {"generate", "--model", needle_model(), "--prompt", "The old man walked to the river.",
       "--temperature", "3", "--seed", "1", "--max-tokens", "100000"},
      interrupt_when([](const ProgramResult& so_far) { return so_far.out.size() > 20; }));
  expect_failure(result, kInterrupted, {"interrupted"}, "interrupted_generate", true);
}

TEST(Interrupt, GenerateJsonPrintsNothing) {
  const ProgramResult result = run_program(
      {"generate", "--model", needle_model(), "--prompt", "The old man walked to the river.",
       "--temperature", "3", "--seed", "1", "--max-tokens", "100000", "--json"},
      interrupt_when([](const ProgramResult&) { return true; }));
  expect_failure(result, kInterrupted, {"interrupted"}, "interrupted_generate_json");
}

TEST(Interrupt, WaitingForStandardInputEnds) {
  RunOptions options =
      interrupt_when([](const ProgramResult& so_far) { return so_far.input_left_bytes == 0; });
  options.input = "Hello";
  options.keep_input_open = true;
  const ProgramResult result = run_program({"generate", "--model", needle_model(), "-"}, options);
  expect_failure(result, kInterrupted, {"interrupted"}, "interrupted_stdin");
}

TEST(Interrupt, BenchEndsInOneLine) {
  const ProgramResult result =
      run_program({"bench", "--model", tiny_llama(), "-p", "0", "-n", "2000", "-r", "1000"},
                  interrupt_when([](const ProgramResult&) { return true; }));
  expect_failure(result, kInterrupted, {"interrupted"}, "interrupted_bench");
}

TEST(Interrupt, ASecondOneEndsAtOnceAndLeavesNothingHalfWritten) {
  const Scratch scratch;
  RunOptions options =
      interrupt_when([&](const ProgramResult&) { return !list_files(scratch.path(".")).empty(); });
  options.interrupt_twice = true;
  const ProgramResult result = run_program(
      {"quantize", needle_model(), scratch / "out.gguf", "--type", "f32", "-t", "1"}, options);
  EXPECT_EQ(result.exit_code, kInterrupted) << result.err;
  EXPECT_EQ(result.err, "") << "there was no time to say anything";
  EXPECT_THAT(list_files(scratch.path(".")), testing::IsEmpty());
}

// One training: interrupted, then refused in three ways that leave it as it is, then finished.
TEST(Interrupt, TrainingGoesOnWithResume) {
  const Scratch scratch;
  const std::string epochs = "40";
  ProgramResult result =
      run_program(train_arguments(scratch, {}, epochs), interrupt_after_first_record(scratch));
  expect_failure(result, kInterrupted, {"interrupted after 2 lessons", "of 7 fits", "--resume"},
                 "interrupted_train");
  const Arguments files{"checkpoint.safetensors", "lessons/00000.lesson", "lessons/00001.lesson",
                        "train.jsonl"};
  ASSERT_EQ(list_files(scratch.path("out")), files);
  const auto contents = [&] {
    Arguments texts;
    for (const std::string& name : files) texts.push_back(read_text(scratch.path("out") / name));
    return texts;
  };
  const Arguments before = contents();

  result = run_program(train_arguments(scratch, {}, epochs));
  expect_failure(result, kUsage, {"out holds a training already", "--resume", "--out"},
                 "out_holds_training");
  EXPECT_EQ(contents(), before);

  result = run_program(train_arguments(scratch, {"--resume", "--lr", "0.5"}, epochs));
  expect_failure(result, kFailure,
                 {"checkpoint.safetensors", "was saved with --lr 0.003, now 0.5", "resume"},
                 "resume_with_other_settings");
  EXPECT_EQ(contents(), before);

  // What a run that was killed left of its own kind goes; all else stays.
  const Arguments abandoned{"checkpoint.safetensors.tmp7", "adapter_config.json.tmp7",
                            "lessons/00002.lesson.tmp7"};
  const Arguments of_others{"notes.tmp7", "lessons/2.lesson.tmp7", "lessons/00002.lesson.tmp"};
  for (const Arguments* list : {&abandoned, &of_others}) {
    for (const std::string& name : *list) write_text(scratch.path("out") / name, "x");
  }
  RunOptions full_disk;
  full_disk.file_size_bytes = 1 << 18;
  result = run_program(train_arguments(scratch, {"--resume"}, epochs), full_disk);
  expect_failure(result, kFailure, {"cannot write", "checkpoint.safetensors", "File too large"},
                 "full_disk_on_resume");
  for (const std::string& name : of_others) {
    EXPECT_TRUE(std::filesystem::remove(scratch.path("out") / name)) << name;
  }
  EXPECT_EQ(list_files(scratch.path("out")), files);
  for (size_t i = 0; i < 3; ++i) EXPECT_EQ(contents()[i], before[i]) << files[i];

  result = run_program(train_arguments(scratch, {"--resume", "--json"}, epochs));
  EXPECT_EQ(result.exit_code, 0) << result.err;
  EXPECT_THAT(result.err, testing::HasSubstr("resuming after step"));
  std::istringstream log(read_text(scratch.path("out") / "train.jsonl"));
  int64_t step = 0;
  for (std::string line; std::getline(log, line);) {
    const int64_t next = nlohmann::json::parse(line).at("step");
    EXPECT_GE(next, step);
    step = next;
  }
  EXPECT_EQ(nlohmann::json::parse(result.out).at("steps"), step);
}

}  // namespace
}  // namespace chunkllm
