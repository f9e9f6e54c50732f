// generate --input and --output: a prompt a line, a result a line.

#include <sstream>

#include "cli/bad_input.h"

namespace chunkllm {
namespace {

using Arguments = std::vector<std::string>;
using nlohmann::json;

constexpr const char* kFact = "The river was quiet that day. The secret code of Alice is 48213.";

Arguments batch(const Scratch& scratch, const Arguments& more = {}) {
  Arguments arguments{"generate",           "-m",       needle_model(),       "-n", "6", "--input",
                      scratch / "in.jsonl", "--output", scratch / "out.jsonl"};
  arguments.insert(arguments.end(), more.begin(), more.end());
  return arguments;
}

std::vector<json> records(const Scratch& scratch) {
  std::vector<json> list;
  std::istringstream stream(read_text(scratch.path("out.jsonl")));
  for (std::string line; std::getline(stream, line);) list.push_back(json::parse(line));
  return list;
}

std::string four_prompts() {
  const std::string question = std::string(kFact) + " What is the secret code of Alice?";
  return json{{"prompt", "The old man walked"}, {"id", "a"}}.dump() + "\n" +
         json{{"messages", {{{"role", "user"}, {"content", question}}}}, {"id", 7}}.dump() + "\n" +
         json{{"prompt", "Nobody came to the door."}}.dump() + "\r\n" +
         json{{"prompt", "The river"}}.dump();
}

// Everything but times and memory, which no two runs share.
json lasting(json record) {
  for (const char* name : {"load_seconds", "prefill_seconds", "decode_seconds", "peak_rss_bytes"}) {
    record.erase(name);
  }
  return record;
}

TEST(Batch, AResultForEachLineInOrder) {
  const Scratch scratch;
  scratch.file("in.jsonl", four_prompts());
  const ProgramResult result = run_program(batch(scratch, {"--json"}));
  ASSERT_EQ(result.exit_code, 0) << result.err;
  const json summary = json::parse(result.out);
  EXPECT_EQ(summary.at("prompts"), 4);
  EXPECT_EQ(summary.at("done_before"), 0);
  const std::vector<json> list = records(scratch);
  ASSERT_EQ(list.size(), 4u);
  for (size_t i = 0; i < 4; ++i) EXPECT_EQ(list[i].at("index"), i);
  EXPECT_EQ(list[0].at("id"), "a");
  EXPECT_EQ(list[1].at("id"), 7);
  EXPECT_FALSE(list[2].contains("id"));
  EXPECT_THAT(list[1].at("text").get<std::string>(), testing::StartsWith("48213"));
  // A line's result is that of its prompt alone.
  const ProgramResult alone =
      run_program({"generate", "-m", needle_model(), "-n", "6", "-p", "The river", "--json", "-c",
                   std::to_string(list[3].at("kv_bytes_reserved").get<int64_t>() /
                                  (list[3].at("kv_bytes_stored").get<int64_t>() /
                                   (list[3].at("prompt_tokens").get<int64_t>() + 5)))});
  const json one = json::parse(alone.out);
  EXPECT_EQ(one.at("text"), list[3].at("text"));
  EXPECT_EQ(one.at("kv_bytes_reserved"), list[3].at("kv_bytes_reserved"));
}

TEST(Batch, GoesOnAfterTheLastWholeLine) {
  const Scratch scratch;
  scratch.file("in.jsonl", four_prompts());
  ASSERT_EQ(run_program(batch(scratch)).exit_code, 0);
  const std::string whole = read_text(scratch.path("out.jsonl"));
  std::vector<json> expected;
  for (const json& record : records(scratch)) expected.push_back(lasting(record));
  std::vector<size_t> ends{0};
  for (size_t i = 0; i < whole.size(); ++i) {
    if (whole[i] == '\n') ends.push_back(i + 1);
  }
  ASSERT_EQ(ends.size(), 5u);
  for (const size_t cut : {ends[2], ends[2] + 1, ends[2] + 8, ends[3] - 1, whole.size()}) {
    scratch.file("out.jsonl", whole.substr(0, cut));
    ASSERT_EQ(run_program(batch(scratch)).exit_code, 0);
    EXPECT_TRUE(read_text(scratch.path("out.jsonl")).starts_with(whole.substr(0, ends[2])))
        << "what was done is kept";
    std::vector<json> list;
    for (const json& record : records(scratch)) list.push_back(lasting(record));
    EXPECT_EQ(list, expected) << "cut at " << cut;
  }
  const ProgramResult again = run_program(batch(scratch, {"--json"}));
  EXPECT_EQ(json::parse(again.out).at("done_before"), 4);
}

TEST(Batch, InterruptedItGoesOn) {
  const Scratch scratch;
  std::string input;
  for (int i = 0; i < 20; ++i) {
    input += json{{"prompt", "The old man walked to house " + std::to_string(i)}}.dump() + "\n";
  }
  scratch.file("in.jsonl", input);
  RunOptions options;
  options.interrupt_when = [&](const ProgramResult&) {
    return read_text(scratch.path("out.jsonl")).find('\n') != std::string::npos;
  };
  Arguments arguments = batch(scratch, {"--ignore-eos"});
  *std::next(std::ranges::find(arguments, "-n")) = "20";
  const ProgramResult result = run_program(arguments, options);
  expect_failure(result, kInterrupted, {"interrupted after", "of 20 prompts"}, "interrupted_batch");
  const std::string done = read_text(scratch.path("out.jsonl"));
  EXPECT_TRUE(done.ends_with("\n"));
  ASSERT_EQ(run_program(arguments).exit_code, 0);
  EXPECT_TRUE(read_text(scratch.path("out.jsonl")).starts_with(done));
  EXPECT_EQ(records(scratch).size(), 20u);
}

TEST(Batch, ABadLineIsNamedBeforeAnyWork) {
  const std::string good = R"({"prompt": "x"})";
  const std::vector<std::pair<std::string, std::vector<std::string>>> cases{
      {"{", {"in.jsonl:2", "JSON"}},
      {"3", {"in.jsonl:2", "object"}},
      {R"({"text": "x"})", {"in.jsonl:2", "prompt or messages"}},
      {R"({"prompt": "x", "messages": []})", {"in.jsonl:2", "one of them"}},
      {R"({"prompt": ""})", {"in.jsonl:2", "empty"}},
      {R"({"prompt": 3})", {"in.jsonl:2", "prompt"}},
      {R"({"prompt": "x", "max_tokens": 3})", {"in.jsonl:2", "max_tokens", "no field"}},
      {R"({"prompt": "x", "id": []})", {"in.jsonl:2", "id must be"}},
      {R"({"messages": []})", {"in.jsonl:2", "holds no message"}},
      {R"({"messages": [{"role": "assistant", "content": "x"}]})", {"in.jsonl:2", "the user's"}},
      {"{\"prompt\": \"\xff\"}", {"in.jsonl:2", "UTF-8"}}};
  for (const auto& [line, parts] : cases) {
    const Scratch scratch;
    scratch.file("in.jsonl", good + "\n" + line + "\n" + good + "\n");
    expect_failure(run_program(batch(scratch)), kFailure, parts, "batch_line " + line);
    EXPECT_FALSE(std::filesystem::exists(scratch.path("out.jsonl")));
  }
  const Scratch scratch;
  scratch.file("in.jsonl", "");
  expect_failure(run_program(batch(scratch)), kFailure, {"in.jsonl", "no prompts"}, "batch_empty");
  scratch.file("in.jsonl", good + "\n" + json{{"prompt", training_text(20)}}.dump() + "\n");
  expect_failure(run_program(batch(scratch, {"--ctx", "64"})), kUsage, {"in.jsonl:2", "context 64"},
                 "batch_long");
}

TEST(Batch, AStrangeOutputIsLeftAlone) {
  const std::vector<std::string> strange{"precious", "precious\n", "{\"index\":1}\n",
                                         "\xef\xbb\xbf{\"index\":0,\"te",
                                         R"({"index":0,"id":"b","text":"x"})"
                                         "\n"};
  for (const std::string& text : strange) {
    const Scratch scratch;
    scratch.file("in.jsonl", four_prompts());
    scratch.file("out.jsonl", text);
    expect_failure(run_program(batch(scratch)), kFailure, {"out.jsonl:1", "--output"},
                   "batch_strange_output");
    EXPECT_EQ(read_text(scratch.path("out.jsonl")), text);
  }
  const Scratch scratch;
  scratch.file("in.jsonl", four_prompts());
  ASSERT_EQ(run_program(batch(scratch)).exit_code, 0);
  scratch.file("in.jsonl", R"({"prompt": "The old man walked", "id": "a"})");
  expect_failure(run_program(batch(scratch)), kFailure, {"out.jsonl:2", "more results"},
                 "batch_shorter_input");
}

TEST(Batch, ADeepResultIsRefused) {
  const Scratch scratch;
  scratch.file("in.jsonl", four_prompts());
  const std::string text =
      "{\"index\":0,\"text\":" + std::string(1000000, '[') + std::string(1000000, ']') + "}\n";
  scratch.file("out.jsonl", text);
  expect_failure(run_program(batch(scratch)), kFailure, {"out.jsonl:1", "deep"}, "batch_deep");
  EXPECT_EQ(read_text(scratch.path("out.jsonl")), text);
}

TEST(Batch, BlankLinesAreNoPrompts) {
  const Scratch scratch;
  scratch.file("in.jsonl",
               "\xef\xbb\xbf{\"prompt\": \"The river\"}\r\n\r\n  \n{\"prompt\": \"x\"}\n\n");
  ASSERT_EQ(run_program(batch(scratch)).exit_code, 0);
  EXPECT_EQ(records(scratch).size(), 2u);
  scratch.file("in.jsonl", "{\"prompt\": \"x\"}\n\n{}\n");
  expect_failure(run_program(batch(scratch)), kFailure, {"in.jsonl:3"}, "batch_line_after_blank");
}

TEST(Batch, ResultsOfAnotherRunAreLeftAlone) {
  const Scratch scratch;
  scratch.file("in.jsonl", four_prompts());
  ASSERT_EQ(run_program(batch(scratch)).exit_code, 0);
  const std::string done = read_text(scratch.path("out.jsonl"));
  const auto refused = [&](const Arguments& more, const std::vector<std::string>& parts) {
    expect_failure(run_program(batch(scratch, more)), kFailure, parts, "batch_reuse " + parts[0]);
    EXPECT_EQ(read_text(scratch.path("out.jsonl")), done);
  };
  for (const auto& [name, value] :
       std::vector<std::pair<std::string, std::string>>{{"--temperature", "1.0"},
                                                        {"--seed", "7"},
                                                        {"--top-k", "3"},
                                                        {"--top-p", "0.5"},
                                                        {"--min-p", "0.1"},
                                                        {"--repeat-penalty", "1.5"},
                                                        {"--repeat-last-n", "3"},
                                                        {"--stop", "x"},
                                                        {"--ctx", "400"},
                                                        {"--kv-type", "q8_0"},
                                                        {"--dtype", "f32"},
                                                        {"--policy", "auto"},
                                                        {"--window", "64"}}) {
    if (name == "--dtype" &&
        json::parse(done.substr(0, done.find('\n'))).at("settings").at("--dtype") == "f32") {
      continue;
    }
    refused({name, value}, {name, "now", "--output"});
  }
  refused({"--ignore-eos"}, {"--ignore-eos off, now on"});
  refused({"--chat"}, {"the prompts of"});
  refused({"--adapter", needle_adapter()}, {"adapter digest"});
  // Prompts after those that are done do no harm.
  const std::string longer = four_prompts() + "\n{\"prompt\": \"The river\"}\n";
  scratch.file("in.jsonl", longer);
  EXPECT_EQ(run_program(batch(scratch)).exit_code, 0);
  EXPECT_EQ(records(scratch).size(), 5u);
  const std::string five = read_text(scratch.path("out.jsonl"));
  const size_t second = longer.find('\n') + 1;
  json changed = json::parse(longer.substr(0, second));
  changed["prompt"] = "Another prompt";
  scratch.file("in.jsonl", changed.dump() + "\n" + longer.substr(second));
  expect_failure(run_program(batch(scratch)), kFailure, {"the prompts of 1 lines, the first 1"},
                 "batch_other_prompt");
  EXPECT_EQ(read_text(scratch.path("out.jsonl")), five);
}

TEST(Batch, TheInstructionSetAndThreadsAreThoseOfTheRun) {
  const Scratch scratch;
  scratch.file("in.jsonl", "{\"prompt\": \"The river\"}\n");
  const auto run_with = [&](const Arguments& more, const std::vector<std::string>& environment) {
    RunOptions options;
    options.environment = environment;
    return run_program(batch(scratch, more), options);
  };
  const std::vector<std::string> scalar = {"CHUNKLLM_ISA=scalar"};
  ASSERT_EQ(run_with({"--dtype", "f32", "-t", "1"}, scalar).exit_code, 0);
  // In float32 threads change nothing.
  EXPECT_EQ(run_with({"--dtype", "f32", "-t", "2"}, scalar).exit_code, 0);
  const std::string isa = json::parse(run_program({"bench", "--model", needle_model(), "-p", "1",
                                                   "-n", "0", "-r", "1", "-o", "json"})
                                          .out)
                              .at(0)
                              .at("isa");
  if (isa != "scalar") {
    expect_failure(run_with({"--dtype", "f32"}, {}), kFailure,
                   {"instruction set scalar, now " + isa}, "batch_other_isa");
  }
  std::filesystem::remove(scratch.path("out.jsonl"));
  ASSERT_EQ(run_with({"--dtype", "f32", "--kv-type", "bf16", "-t", "1"}, scalar).exit_code, 0);
  expect_failure(run_with({"--dtype", "f32", "--kv-type", "bf16", "-t", "2"}, scalar), kFailure,
                 {"--threads 1, now 2"}, "batch_other_threads");
}

TEST(Batch, AnotherModelUnderTheSameNameIsNamed) {
  const Scratch scratch;
  scratch.file("in.jsonl", "{\"prompt\": \"The river\"}\n");
  const std::string model = scratch.with_tensors(needle_model(), "model.safetensors",
                                                 [](TensorFile& file) { file.data[9] ^= 1; });
  const auto run_with = [&](const std::string& path) {
    return run_program({"generate", "-m", path, "-n", "3", "--input", scratch / "in.jsonl",
                        "--output", scratch / "out.jsonl"});
  };
  ASSERT_EQ(run_with(needle_model()).exit_code, 0);
  expect_failure(run_with(model), kFailure, {"model digest"}, "batch_other_model");
}

TEST(Batch, AFullDiskLeavesWholeLines) {
  const Scratch scratch;
  scratch.file("in.jsonl", four_prompts());
  RunOptions options;
  options.file_size_bytes = 1800;  // two results; clang's OpenMP has a file of 1024 bytes
  const ProgramResult result = run_program(batch(scratch), options);
  expect_failure(result, kFailure, {"cannot write", "out.jsonl", "of 4 results"},
                 "batch_full_disk");
  const std::string text = read_text(scratch.path("out.jsonl"));
  EXPECT_TRUE(text.empty() || text.ends_with("\n"));
  EXPECT_EQ(run_program(batch(scratch)).exit_code, 0);
  EXPECT_EQ(records(scratch).size(), 4u);
}

TEST(Batch, OptionsThatDoNotGoTogether) {
  const Scratch scratch;
  scratch.file("in.jsonl", four_prompts());
  expect_failure(run_program({"generate", "-m", needle_model(), "--input", scratch / "in.jsonl"}),
                 kUsage, {"--output"}, "batch_without_output");
  expect_failure(run_program({"generate", "-m", needle_model(), "-p", "x", "--output", "y"}),
                 kUsage, {"--input"}, "output_without_input");
  expect_failure(run_program(batch(scratch, {"-p", "x"})), kUsage, {"prompt"}, "batch_and_prompt");
  expect_failure(run_program(batch(scratch, {"--save-cache", scratch / "c"})), kUsage,
                 {"--save-cache", "--input"}, "batch_and_cache");
}

}  // namespace
}  // namespace chunkllm
