// Less memory, disk or permission than the work needs.

#include "cli/bad_input.h"

#if defined(__SANITIZE_ADDRESS__)
constexpr bool kAddressSanitizer = true;
#elif defined(__has_feature)
constexpr bool kAddressSanitizer = __has_feature(address_sanitizer);
#else
constexpr bool kAddressSanitizer = false;
#endif

namespace chunkllm {
namespace {

TEST(Limits, MemoryBelowNeedIsRefusedWithBothNumbers) {
  if (kAddressSanitizer) GTEST_SKIP() << "RLIMIT_AS does not work under AddressSanitizer";
  Command command = generate_with(needle_model(), {"--ctx", "4000000"});
  command.options.address_space_bytes = rlim_t{3} << 30;
  const std::string line =
      expect_failure(run_program(command.arguments, command.options), kFailure,
                     {"KV cache at 4000000 tokens", "available", "--ctx"}, "little_memory");
  EXPECT_THAT(line, testing::ContainsRegex("needs [0-9.]+ GiB for"));
  EXPECT_THAT(line, testing::ContainsRegex("; [0-9.]+ [GM]iB available"));
}

TEST(Limits, HugeContextIsRefused) {
  for (const std::vector<std::string>& more :
       {std::vector<std::string>{"--ctx", "1073741824"},
        std::vector<std::string>{"--ctx", "1073741824", "--kv-type", "f32", "--adapter",
                                 needle_adapter()}}) {
    const Command command = generate_with(needle_model(), more);
    expect_failure(run_program(command.arguments), kFailure,
                   {"needs", "iB for the KV cache at 1073741824 tokens", "available", "--ctx"},
                   "ctx_2_to_the_30");
  }
}

TEST(Limits, HugeBenchIsRefused) {
  const ProgramResult result =
      run_program({"bench", "--model", needle_model(), "-p", "268435456", "-n", "0", "-r", "1"});
  expect_failure(result, kFailure, {"needs", "available", "a smaller -p, -n or -d"},
                 "bench_2_to_the_28");
}

TEST(Limits, OutMustBeWritable) {
  const Scratch scratch;
  scratch.file("taken", "precious");
  const std::vector<std::pair<std::string, std::string>> cases{
      {"out_is_file", scratch / "taken"},
      {"out_below_file", scratch / "taken/below"},
      {"out_under_proc", "/proc/chunkllm"},
      {"out_in_proc_itself", "/proc"}};
  for (const auto& [name, out] : cases) {
    std::vector<std::string> arguments = train_arguments(scratch);
    *std::next(std::ranges::find(arguments, "--out")) = out;
    expect_failure(run_program(arguments), kFailure, {out}, name);
  }
  EXPECT_EQ(read_text(scratch.path("taken")), "precious");
}

TEST(Limits, ReadOnlyOutIsRefused) {
  if (::geteuid() == 0) GTEST_SKIP() << "nothing is read-only to root";
  const Scratch scratch;
  std::filesystem::create_directory(scratch.path("out"));
  std::filesystem::permissions(
      scratch.path("out"), std::filesystem::perms::owner_read | std::filesystem::perms::owner_exec);
  expect_failure(run_program(train_arguments(scratch)), kFailure, {"out", "Permission denied"},
                 "out_read_only");
}

TEST(Limits, FullDiskLeavesNoHalfWrittenAdapter) {
  // The first two stop the checkpoint, the third the lessons.
  for (const rlim_t limit : {rlim_t{10}, rlim_t{4096}, rlim_t{100000}}) {
    if (kAddressSanitizer && limit < 1024) continue;  // clang's OpenMP needs a file of its own
    const Scratch scratch;
    RunOptions options;
    options.file_size_bytes = limit;
    const ProgramResult result =
        run_program(train_arguments(scratch, {"--adapter-dim", "2"}), options);
    expect_failure(result, kFailure, {"cannot", "out", "File too large"},
                   "full_disk_after_" + std::to_string(limit));
    for (const std::string& name : list_files(scratch.path("out"))) {
      EXPECT_TRUE(name == "train.jsonl" || (limit == 100000 && name == "checkpoint.safetensors"))
          << name << " left behind by a full disk";
    }
  }
}

TEST(Limits, FullStandardOutputIsAnError) {
  const Scratch scratch;
  const std::vector<std::pair<std::string, std::vector<std::string>>> cases{
      {"full_stdout_help", {"--help"}},
      {"full_stdout_train_help", {"train", "--help"}},
      {"full_stdout_version", {"--version"}},
      {"full_stdout_inspect", {"inspect", tiny_llama()}},
      {"full_stdout_inspect_json", {"inspect", tiny_llama(), "--json"}},
      {"full_stdout_generate", generate_with(needle_model()).arguments},
      {"full_stdout_json", generate_with(needle_model(), {"--json"}).arguments},
      {"full_stdout_bench", bench_with(tiny_llama()).arguments}};
  for (const auto& [name, arguments] : cases) {
    RunOptions options;
    options.out_path = "/dev/full";
    expect_failure(run_program(arguments, options), kFailure, {"standard output"}, name);
  }
}

}  // namespace
}  // namespace chunkllm
