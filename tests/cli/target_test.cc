// Files that stand where the program is to write: only its own kind is replaced, and a disk that is
// full leaves what was there.

#include "cli/bad_input.h"

namespace chunkllm {
namespace {

using Arguments = std::vector<std::string>;

Arguments quantize_to(const std::string& out) {
  return {"quantize", needle_model(), out, "--type", "q8_0", "-t", "1"};
}

Arguments save_cache_to(const std::string& out) {
  return {"generate", "-m", needle_model(), "-t", "1", "-p", "x", "-n", "1", "--save-cache", out};
}

// Refused, and left as it was.
void expect_kept(const Arguments& arguments, const std::string& path,
                 const std::vector<std::string>& parts) {
  const std::string before = read_text(path);
  expect_failure(run_program(arguments), kUsage, parts, path);
  EXPECT_EQ(read_text(path), before);
}

TEST(Target, QuantizeReplacesNoFileOfAnotherKind) {
  const Scratch scratch;
  const std::string text = scratch.file("notes.txt", "somebody's text");
  expect_kept(quantize_to(text), text, {"notes.txt", "no GGUF file"});
  const std::string tensors =
      scratch.file("copy.safetensors", read_text(tiny_llama() / "model.safetensors"));
  expect_kept(quantize_to(tensors), tensors, {"copy.safetensors", "no GGUF file"});

  const std::string out = scratch.file("out.gguf", "");
  EXPECT_EQ(run_program(quantize_to(out)).exit_code, 0) << "an empty file, as mktemp makes them";
  EXPECT_EQ(run_program(quantize_to(out)).exit_code, 0) << "its own kind";
  expect_kept({"quantize", out, out, "--type", "q8_0"}, out, {"out.gguf", "the model itself"});
  std::filesystem::create_symlink(out, scratch.path("link.gguf"));
  expect_kept({"quantize", out, scratch / "link.gguf", "--type", "q8_0"}, out,
              {"link.gguf", "the model itself"});
}

TEST(Target, SaveCacheReplacesNoFileOfAnotherKind) {
  const Scratch scratch;
  const std::string text = scratch.file("notes.txt", "somebody's text");
  expect_kept(save_cache_to(text), text, {"notes.txt", "no prompt cache"});
  const std::string tensors =
      scratch.file("copy.safetensors", read_text(tiny_llama() / "model.safetensors"));
  expect_kept(save_cache_to(tensors), tensors, {"copy.safetensors", "no prompt cache"});

  const std::string out = scratch.file("out.cache", "");
  EXPECT_EQ(run_program(save_cache_to(out)).exit_code, 0) << "an empty file, as mktemp makes them";
  EXPECT_EQ(run_program(save_cache_to(out)).exit_code, 0) << "its own kind";
}

TEST(Target, AdaptersAreTrainedIntoNoModelsFolder) {
  const Scratch scratch;
  const std::string model = scratch.without(needle_model(), "README.md");
  const std::vector<std::string> before = list_files(model);
  Arguments arguments = train_arguments(scratch);
  const auto out = std::next(std::ranges::find(arguments, "--out"));
  *out = model;
  expect_failure(run_program(arguments), kUsage, {"--out", model, "a model's folder"}, "out_model");
  *std::next(std::ranges::find(arguments, "--model")) = model;
  *out = model + "/.";
  expect_failure(run_program(arguments), kUsage, {"a model's folder"}, "out_same");
  EXPECT_EQ(list_files(model), before);
}

TEST(Target, AFileThatMayNotGrowIsAnErrorOfTheWrite) {
  const Scratch scratch;
  RunOptions full;
  full.file_size_bytes = 20000;
  const std::string cache = scratch / "out.cache";
  ASSERT_EQ(run_program(save_cache_to(cache)).exit_code, 0);
  const std::string before = read_text(cache);
  Arguments longer = save_cache_to(cache);
  *std::next(std::ranges::find(longer, "-n")) = "30";
  const ProgramResult result = run_program(longer, full);
  EXPECT_EQ(result.signal, 0) << "SIGXFSZ";
  EXPECT_EQ(result.exit_code, kFailure);
  EXPECT_THAT(result.err, testing::HasSubstr("File too large"));
  EXPECT_EQ(read_text(cache), before);

  const std::string model = scratch / "out.gguf";
  expect_failure(run_program(quantize_to(model), full), kFailure, {"out.gguf", "File too large"},
                 "quantize");
  EXPECT_EQ(list_files(scratch.path(".")), Arguments{"out.cache"}) << "nothing half written";
}

// Of a model that is not there nothing is said: it was not looked for yet.
TEST(Target, WhatCannotBeWrittenIsRefusedBeforeTheModelIsOpened) {
  const Scratch scratch;
  const std::string folder = scratch / "folder";
  std::filesystem::create_directory(folder);
  const std::string text = scratch.file("notes.txt", "somebody's text");
  const std::string nowhere = scratch / "no/such/file";
  const std::string model = scratch / "no-model";
  const auto refused = [&](int exit_code, const Arguments& arguments, const Arguments& parts) {
    expect_failure(run_program(arguments), exit_code, parts, parts[0] + " " + arguments.back());
  };
  const Arguments one{"generate", "-m", model, "-p", "x", "--save-cache"};
  const Arguments many{"generate", "-m", model, "--input", text, "--output"};
  const auto with = [](Arguments arguments, const std::string& path) {
    arguments.push_back(path);
    return arguments;
  };
  refused(kUsage, with(one, folder), {"--save-cache", folder, "is a folder; name a file"});
  refused(kUsage, with(one, text), {"notes.txt", "no prompt cache"});
  refused(kFailure, with(one, nowhere), {"--save-cache", nowhere, "No such file"});
  refused(kUsage, with(many, folder), {"--output", folder, "is a folder; name a file"});
  refused(kFailure, with(many, nowhere), {"--output", nowhere, "No such file"});

  const Arguments train{"train", "-m", model, "--data", text, "--out"};
  refused(kFailure, with(train, text), {"--out", text, "is a file; choose another"});
  refused(kFailure, with(train, text + "/a"), {"--out", text, "is a file; choose another"});
  refused(kFailure,
          {"train", "-m", model, "--data", text, "--out", scratch / "out", "--lessons", text},
          {"--lessons", text, "is a file; choose another"});
  EXPECT_FALSE(std::filesystem::exists(scratch.path("out")));
  scratch.file("folder/checkpoint.safetensors", "of a training");
  refused(kUsage, with(train, folder), {"folder holds a training already", "--resume", "--out"});

  refused(kUsage, {"quantize", needle_model(), "--type", "q8_0", folder},
          {folder, "is a folder; name a file"});
}

}  // namespace
}  // namespace chunkllm
