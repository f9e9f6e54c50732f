// What the program prints when all is well.

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>

#include "cli/run_program.h"
#include "cli/scratch.h"

namespace chunkllm {
namespace {

using Arguments = std::vector<std::string>;
using nlohmann::json;

constexpr const char* kDocument =
    "The river was quiet that day. The secret code of Alice is 48213. Nobody came to the door.\n\n"
    "What is the secret code of Alice?";

// Runs and expects success; returns standard output.
std::string output_of(const Arguments& arguments, const RunOptions& options = {}) {
  const ProgramResult result = run_program(arguments, options);
  EXPECT_EQ(result.exit_code, 0) << result.err;
  EXPECT_EQ(result.signal, 0) << result.err;
  return result.out;
}

// The one JSON value on standard output; anything beside it fails.
json json_of(const Arguments& arguments) {
  const std::string out = output_of(arguments);
  json value = json::parse(out, nullptr, false);
  EXPECT_FALSE(value.is_discarded()) << out;
  return value;
}

// All of `names` are numbers of the object, none negative.
void expect_numbers(const json& object, const Arguments& names) {
  for (const std::string& name : names) {
    ASSERT_TRUE(object.contains(name)) << name << " is missing in " << object.dump();
    ASSERT_TRUE(object[name].is_number()) << name;
    EXPECT_GE(object[name].get<double>(), 0.0) << name;
  }
}

Arguments chat_arguments(const Arguments& more = {}) {
  Arguments arguments{"generate", "--model", needle_model(), "--chat", "--max-tokens", "24"};
  arguments.insert(arguments.end(), more.begin(), more.end());
  return arguments;
}

TEST(Help, ListsEveryOption) {
  const std::vector<std::pair<std::string, Arguments>> cases{
      {"train",
       {"--model", "--data", "--out", "--sequences", "--seq-len", "--epochs", "--lr", "--lessons",
        "--adapter-dim", "--chunk-key", "--target", "--first-layer", "--chunks", "--save-every",
        "--resume", "--eval-data", "--json", "--threads", "--seed"}},
      {"generate",
       {"--model",
        "--adapter",
        "--policy",
        "--kv-budget",
        "--kv-budget-min",
        "--top-k-chunks",
        "--window",
        "--sink",
        "--refresh",
        "--prefill",
        "--prompt",
        "--prompt-file",
        "--chat",
        "--ctx",
        "--kv-type",
        "--kv-resident-mib",
        "--kv-dir",
        "--max-tokens",
        "--temperature",
        "--top-p",
        "--top-k",
        "--json",
        "--threads",
        "--seed",
        "--min-p",
        "--repeat-penalty",
        "--repeat-last-n",
        "--stop",
        "--ignore-eos",
        "--system",
        "--messages",
        "--input",
        "--output",
        "--load-cache",
        "--show-chunks",
        "--save-cache",
        "-m",
        "-p",
        "-f",
        "-n",
        "-c",
        "-s",
        "-t",
        "--temp"}},
      {"chat",
       {"--model", "--adapter", "--policy", "--kv-budget", "--system", "--ctx", "--max-tokens",
        "--temperature", "--stop", "--ignore-eos", "--seed", "--threads"}},
      {"bench", {"--model", "--adapter", "--policy", "-p", "-n", "-d", "-r", "-o", "--threads"}},
      {"inspect", {"path", "--ctx", "--json"}}};
  const std::string top = output_of({"--help"});
  for (const auto& [command, options] : cases) {
    EXPECT_THAT(top, testing::HasSubstr(command));
    const ProgramResult result = run_program({command, "--help"});
    EXPECT_EQ(result.exit_code, 0);
    EXPECT_EQ(result.err, "");
    for (const std::string& option : options) {
      EXPECT_THAT(result.out, testing::ContainsRegex("(^|[ ,\n])" + option + "[ :,=]")) << command;
    }
  }
  EXPECT_THAT(output_of({"--version"}), testing::ContainsRegex("^[0-9]+\\.[0-9]+\\.[0-9]+\n$"));
}

TEST(Generate, ChatFindsWhatTheDocumentSays) {
  EXPECT_THAT(output_of(chat_arguments({"--prompt", kDocument})), testing::StartsWith("48213"));
}

TEST(Generate, PromptComesFromArgumentFileOrStandardInput) {
  const Scratch scratch;
  const std::string answer = output_of(chat_arguments({"--prompt", kDocument}));
  EXPECT_EQ(output_of(chat_arguments({"--prompt-file", scratch.file("document.txt", kDocument)})),
            answer);
  RunOptions options;
  options.input = kDocument;
  EXPECT_EQ(output_of(chat_arguments({"-"}), options), answer);
  EXPECT_EQ(output_of(chat_arguments({"--prompt-file", "-"}), options), answer);
}

TEST(Generate, JsonIsOneObjectWithAllFields) {
  for (const Arguments& adapter : {Arguments{}, Arguments{"--adapter", needle_adapter()}}) {
    Arguments arguments = chat_arguments({"--prompt", kDocument, "--json"});
    arguments.insert(arguments.end(), adapter.begin(), adapter.end());
    const json object = json_of(arguments);
    ASSERT_TRUE(object.is_object());
    expect_numbers(
        object, {"prompt_tokens", "cached_tokens", "generated_tokens", "load_seconds",
                 "prefill_seconds", "decode_seconds", "kv_retention", "prefill_retention",
                 "kv_bytes_reserved", "kv_bytes_stored", "kv_bytes_resident", "kv_bytes_attended",
                 "chunks", "refreshes", "peak_rss_bytes"});
    EXPECT_EQ(object.at("policy"), adapter.empty() ? "full" : "chunk");
    EXPECT_EQ(object.at("finish_reason"), "stop");
    EXPECT_THAT(object.at("text").get<std::string>(), testing::StartsWith("48213"));
    EXPECT_GT(object.at("prompt_tokens"), 10);
    EXPECT_GT(object.at("generated_tokens"), 1);
    EXPECT_LE(object.at("kv_bytes_stored"), object.at("kv_bytes_reserved"));
    // So short a text is within the budget of any policy.
    EXPECT_DOUBLE_EQ(object.at("kv_retention").get<double>(), 1.0);
  }
}

// A text of more chunks than fit a small budget, with the fact in the middle.
std::string long_document() {
  std::string text;
  for (int i = 0; i < 80; ++i) {
    if (i == 20) text += "The secret code of Alice is 48213. ";
    text += "The river was quiet that day. Nobody came to the door. ";
  }
  return text + "\n\nWhat is the secret code of Alice?";
}

TEST(Generate, ShownChunksAreWhereTheAnswerStands) {
  const std::string document = long_document();
  const Arguments arguments = chat_arguments(
      {"--prompt", document, "--adapter", needle_adapter(), "--kv-budget", "400", "--show-chunks"});
  Arguments with_json = arguments;
  with_json.push_back("--json");
  const json object = json_of(with_json);
  EXPECT_THAT(object.at("text").get<std::string>(), testing::StartsWith("48213"));
  const json& sources = object.at("sources");
  ASSERT_EQ(sources.size(), 8u);
  double mass = 0;
  bool found = false;
  for (const json& source : sources) {
    EXPECT_LT(source.at("begin"), source.at("end"));
    EXPECT_LE(source.at("end"), object.at("prompt_tokens"));
    EXPECT_GT(source.at("layers"), 0.0);
    EXPECT_LE(source.at("layers"), 1.0);
    EXPECT_THAT(source.at("text").get<std::string>(), testing::Not(testing::HasSubstr("\n")));
    mass += source.at("mass").get<double>();
    found |= source.at("text").get<std::string>().find("48213") != std::string::npos;
  }
  EXPECT_TRUE(found) << sources.dump();
  EXPECT_GT(mass, 0.0);
  EXPECT_LE(mass, 1.0 + 1e-6);
  // By most layers first, then by how much more mass they have than usual.
  const auto rank = [&](size_t i) {
    const double ratio =
        sources[i].at("mass").get<double>() / sources[i].at("usual_mass").get<double>();
    return std::pair(sources[i].at("layers").get<double>() >= 0.5, ratio);
  };
  for (size_t i = 1; i < sources.size(); ++i) EXPECT_LE(rank(i), rank(i - 1));

  const ProgramResult printed = run_program(arguments);
  EXPECT_THAT(printed.out, testing::StartsWith("48213"));
  EXPECT_THAT(printed.out, testing::Not(testing::HasSubstr("layers")));
  EXPECT_THAT(printed.err, testing::HasSubstr("48213"));
  EXPECT_THAT(printed.err, testing::HasSubstr("chunks that the upper layers chose"));
}

TEST(Generate, AnAuditSaysWhatTheSelectionMissed) {
  Arguments arguments = chat_arguments(
      {"--prompt", long_document(), "--adapter", needle_adapter(), "--kv-budget", "400"});
  const std::string text = run_program(arguments).out;
  arguments.insert(arguments.end(), {"--audit", "1"});
  const ProgramResult printed = run_program(arguments);
  EXPECT_EQ(printed.out, text);
  EXPECT_THAT(printed.err, testing::ContainsRegex("audit: [0-9.]+% of the attention missed"));
  arguments.push_back("--json");
  const json missed = json_of(arguments).at("missed_mass");
  EXPECT_GT(missed.at("n"), 0);
  EXPECT_GT(missed.at("mean"), 0.0);
  EXPECT_LE(missed.at("mean"), missed.at("max"));
  EXPECT_LE(missed.at("max"), 1.001);
  int64_t n = 0;
  for (const auto& [layer, mass] : missed.at("by_layer").items()) n += mass.at("n").get<int64_t>();
  EXPECT_EQ(n, missed.at("n"));
  const ProgramResult full =
      run_program(chat_arguments({"--prompt", "x", "--policy", "full", "--audit", "4", "--json"}));
  EXPECT_THAT(full.err, testing::HasSubstr("note: --audit has no effect under policy full"));
  EXPECT_FALSE(json::parse(full.out).contains("missed_mass"));
}

// What lies before the question is the template's alone but for the text of the document.
TEST(Generate, ShownChunksHoldWhatSomebodyWrote) {
  Arguments arguments =
      chat_arguments({"--prompt", long_document(), "--adapter", needle_adapter(), "--kv-budget",
                      "400", "--show-chunks", "--json", "--chat-template"});
  const Scratch scratch;
  std::string begin = "{{ '<|user|>' }}";
  for (int i = 0; i < 12; ++i) begin += "A word of the template. ";
  arguments.push_back(scratch.file(
      "template.jinja", begin + "{% for m in messages if m.role == 'user' %}{{ m.content }}"
                                "{% endfor %}{{ '<|assistant|>' }}"));
  const json sources = json_of(arguments).at("sources");
  EXPECT_FALSE(sources.empty());
  for (const json& source : sources) {
    EXPECT_THAT(source.at("text").get<std::string>(), testing::ContainsRegex("river|door|Alice"));
  }
}

TEST(Generate, ShownChunksAreNoneUnderPoliciesWithoutAnIndex) {
  const auto expect_none = [](const std::string& policy) {
    const ProgramResult result =
        run_program(chat_arguments({"--adapter", needle_adapter(), "--policy", policy, "--prompt",
                                    kDocument, "--show-chunks", "--json"}));
    EXPECT_EQ(result.exit_code, 0);
    EXPECT_FALSE(json::parse(result.out).contains("sources"));
    EXPECT_THAT(result.err, testing::HasSubstr("--show-chunks has no effect under policy"));
  };
  expect_none("full");
  expect_none("oracle");
  expect_none("auto");  // which is full for a text within the budget
}

TEST(Generate, SaysWhereABudgetLeavesNothingToChoose) {
  const auto notes_of = [](const char* budget) {
    return run_program(chat_arguments({"--adapter", needle_adapter(), "--prompt", kDocument,
                                       "--kv-budget", budget}))
        .err;
  };
  EXPECT_THAT(notes_of("32"), testing::HasSubstr("note: --kv-budget 32 leaves nothing to choose"));
  EXPECT_THAT(notes_of("512"), testing::Not(testing::HasSubstr("leaves nothing")));
}

TEST(Generate, MaxTokensEndsTheText) {
  const json object = json_of({"generate", "--model", needle_model(), "--prompt",
                               "The old man walked", "--max-tokens", "3", "--json"});
  EXPECT_EQ(object.at("generated_tokens"), 3);
  EXPECT_EQ(object.at("finish_reason"), "length");
}

TEST(Generate, ASpeedIsOfPassesThatRan) {
  const auto speed_line = [](const std::string& n) {
    return run_program({"generate", "--model", needle_model(), "--prompt", "The old man walked",
                        "--max-tokens", n})
        .err;
  };
  EXPECT_THAT(speed_line("1"), testing::ContainsRegex(", 1 generated in [0-9.]+ s, "));
  EXPECT_THAT(speed_line("3"),
              testing::ContainsRegex(", 3 generated in [0-9.]+ s \\([0-9.]+/s\\), "));
}

TEST(Generate, TheSameSeedGivesTheSameText) {
  const auto sample = [](const std::string& seed, const std::string& temperature) {
    return output_of({"generate", "--model", needle_model(), "--prompt", "The old man walked",
                      "--max-tokens", "24", "--temperature", temperature, "--seed", seed});
  };
  const std::string text = sample("7", "1.5");
  EXPECT_FALSE(text.empty());
  EXPECT_EQ(sample("7", "1.5"), text);
  EXPECT_NE(sample("8", "1.5"), text);
  EXPECT_EQ(sample("7", "0"), sample("8", "0"));
}

TEST(Train, JsonIsOneObjectWithAllFields) {
  const Scratch scratch;
  scratch.file("eval.txt", training_text(200));
  const json object =
      json_of(train_arguments(scratch, {"--json", "--eval-data", scratch / "eval.txt"}));
  ASSERT_TRUE(object.is_object());
  expect_numbers(object, {"steps", "tokens", "seconds", "tokens_per_second", "loss"});
  EXPECT_GT(object.at("steps"), 0);
  const json& eval = object.at("eval");
  expect_numbers(eval, {"boundary_precision", "boundary_recall", "boundary_f1"});
  for (const char* name : {"kl", "recall_at_8", "recall_at_8_recent", "recall_at_8_random"}) {
    EXPECT_FALSE(eval.at(name).empty()) << name;
  }
  EXPECT_EQ(list_files(scratch.path("out")),
            (Arguments{"adapter_config.json", "adapter_model.safetensors", "checkpoint.safetensors",
                       "train.jsonl"}));
  // What was trained can be used at once.
  EXPECT_EQ(json_of(chat_arguments({"--adapter", scratch / "out", "--prompt", kDocument, "--json"}))
                .at("policy"),
            "chunk");
  EXPECT_EQ(json_of({"inspect", scratch / "out", "--json"}).at("training").at("lessons"), 2);
}

TEST(Train, SummaryIsALineAndATable) {
  const Scratch scratch;
  const std::string out = output_of(train_arguments(scratch));
  EXPECT_THAT(out, testing::HasSubstr(" steps, "));
  EXPECT_THAT(out, testing::HasSubstr(scratch / "out"));
  EXPECT_THAT(out, testing::HasSubstr("boundary precision"));
  EXPECT_THAT(out, testing::HasSubstr("boundary F1 in made-up text"));
  EXPECT_EQ(std::ranges::count(out, '\n'), 3 + 2 + 6);  // three lines, two of heading, layers
}

TEST(Train, EndsWithATrialOfFullAttentionBesideTheAdapters) {
  const Scratch scratch;
  Arguments arguments = train_arguments(scratch);
  std::erase(arguments, "--no-trial");
  const ProgramResult result = run_program(arguments);
  EXPECT_EQ(result.exit_code, 0) << result.err;
  EXPECT_THAT(result.err, testing::HasSubstr("chunkllm eval budget --model "));
  const std::string& out = result.out;
  for (const char* part : {"| context | task | full | chunk, 10% |", "| 4096 | multi-value |",
                           "share of full", "| KV retention | 100.0% |"}) {
    EXPECT_THAT(out, testing::HasSubstr(part));
  }
}

TEST(Bench, EveryOutputHasARowForEachTest) {
  const auto bench = [](const std::string& output) {
    return Arguments{"bench", "--model", needle_model(), "--adapter", needle_adapter(),
                     "-p",    "16",      "-n",           "4",         "-r",
                     "1",     "-o",      output};
  };
  const json list = json_of(bench("json"));
  ASSERT_TRUE(list.is_array());
  Arguments tests;
  for (const json& row : list) {
    expect_numbers(row, {"threads", "depth", "tokens_per_second", "stddev", "kv_retention",
                         "limit_tokens_per_second", "share_of_limit"});
    for (const char* name : {"model", "weights", "kv_type", "policy", "isa", "test"}) {
      EXPECT_TRUE(row.at(name).is_string()) << name;
    }
    tests.push_back(row["policy"].get<std::string>() + " " + row["test"].get<std::string>());
  }
  EXPECT_EQ(tests, (Arguments{"full pp16", "full tg4", "chunk pp16", "chunk tg4"}));
  const std::string csv = output_of(bench("csv"));
  EXPECT_EQ(std::ranges::count(csv, '\n'), 5);
  EXPECT_EQ(std::ranges::count(csv, ','), 5 * 17);
  const std::string table = output_of(bench("md"));
  EXPECT_EQ(std::ranges::count(table, '\n'), 6);
  EXPECT_EQ(std::ranges::count(table, '|'), 6 * 19);
}

TEST(Bench, CsvQuotesWhatWouldEndAField) {
  const Scratch scratch;
  const std::string model = scratch / "a \"b\", c";
  std::filesystem::create_symlink(needle_model(), model);
  const std::string csv =
      output_of({"bench", "-m", model, "-p", "0", "-n", "1", "-r", "1", "-o", "csv"});
  EXPECT_THAT(csv, testing::HasSubstr("\n\"a \"\"b\"\", c\","));
  EXPECT_THAT(csv, testing::StartsWith("model,weights,"));
}

TEST(Bench, SaysWhatItReadsAndWhereItGoesTooFar) {
  const Scratch scratch;
  const std::string file = scratch / "needle.gguf";
  output_of({"quantize", needle_model(), file, "--type", "q4_0"});
  const json rows = json_of({"bench", "-m", file, "-p", "0", "-n", "1", "-r", "1", "-o", "json"});
  EXPECT_EQ(rows.at(0).at("weights"), "q4_0");
  const std::string small = scratch.with_json(
      needle_model(), "config.json", [](auto& config) { config["max_position_embeddings"] = 20; });
  const auto err = [&](const Arguments& more) {
    Arguments arguments{"bench", "-m", small, "-n", "0", "-r", "1", "--kv-budget", "512"};
    arguments.insert(arguments.end(), more.begin(), more.end());
    const ProgramResult result = run_program(arguments);
    EXPECT_EQ(result.exit_code, 0) << result.err;
    return result.err;
  };
  EXPECT_THAT(err({"-p", "21"}), testing::HasSubstr("21 is beyond the 20 positions"));
  EXPECT_THAT(err({"-p", "20"}), testing::Not(testing::HasSubstr("beyond")));
  EXPECT_THAT(err({"-p", "20"}), testing::HasSubstr("--kv-budget has no effect under policy full"));
}

TEST(Bench, MadeUpDepthsAndAdaptersAreSaidToBeSo) {
  const json list =
      json_of({"bench", "--model", needle_model(), "--policy", "full,chunk", "--synthetic", "-d",
               "0,4000", "-p", "0", "-n", "4", "-r", "1", "-o", "json"});
  ASSERT_EQ(list.size(), 4u);
  for (const json& row : list) {
    EXPECT_EQ(row.at("adapter"), row.at("policy") == "full" ? "none" : "random");
    EXPECT_EQ(row.at("fill"), row.at("depth") == 0 ? "none" : "synthetic");
  }
  EXPECT_LT(list[3].at("kv_retention"), 0.6);
}

TEST(Generate, PolicyAutoSaysWhatItChose) {
  const Arguments automatic = chat_arguments({"--prompt", kDocument, "--json", "--policy", "auto"});
  Arguments with_adapter = automatic;
  with_adapter.insert(with_adapter.end(), {"--adapter", needle_adapter()});
  const std::pair<const Arguments&, const char*> cases[] = {
      {automatic, "there is no adapter"}, {with_adapter, "up to 2048 tokens chunk does the same"}};
  for (const auto& [arguments, why] : cases) {
    const ProgramResult result = run_program(arguments);
    EXPECT_EQ(result.exit_code, 0);
    EXPECT_EQ(json::parse(result.out).at("policy"), "full");
    EXPECT_THAT(result.err, testing::HasSubstr("policy auto: full for"));
    EXPECT_THAT(result.err, testing::HasSubstr(why));
  }
}

TEST(Inspect, ModelAdapterAndFile) {
  const json model = json_of({"inspect", needle_model(), "--json"});
  EXPECT_EQ(model.at("model_type"), "llama");
  EXPECT_EQ(model.at("n_layers"), 6);
  expect_numbers(model.at("memory"), {"weights_bytes", "kv_bytes", "total_bytes"});
  const json adapter = json_of({"inspect", needle_adapter(), "--json"});
  EXPECT_EQ(adapter.at("d_model"), model.at("d_model"));
  EXPECT_EQ(adapter.at("fingerprint").get<std::string>().size(), 64u);
  EXPECT_EQ(adapter.at("distance_term"), false);
  EXPECT_EQ(adapter.at("chunk_key"), "boundary");
  EXPECT_EQ(adapter.at("chunks"), "sentence");
  EXPECT_EQ(adapter.at("first_layer"), "grid:32");
  EXPECT_EQ(adapter.at("alpha"), 0.5);
  expect_numbers(
      adapter, {"selection_heads", "min_chunk", "max_chunk", "sink", "window", "selecting_layers"});
  EXPECT_EQ(adapter.at("in_memory_bytes"), 4 * adapter.at("parameters").get<int64_t>());
  EXPECT_EQ(adapter.at("on_disk_bytes"),
            std::filesystem::file_size(needle_adapter() / "adapter_config.json") +
                std::filesystem::file_size(needle_adapter() / "adapter_model.safetensors"));
  const json file = json_of({"inspect", tiny_llama() / "model.safetensors", "--json"});
  EXPECT_FALSE(file.at("tensors").empty());
  const json both = json_of(
      {"inspect", needle_model(), "--adapter", needle_adapter(), "--ctx", "1024", "--json"});
  EXPECT_EQ(both.at("memory").at("ctx"), 1024);
  EXPECT_LT(both.at("memory").at("kv_bytes"), model.at("memory").at("kv_bytes"));
  expect_numbers(both.at("adapter"), {"parameters", "share_of_parameters"});
  const json none = json_of({"inspect", needle_model(), "--adapter", "none", "--json"});
  EXPECT_FALSE(none.contains("adapter"));
  EXPECT_EQ(none.at("memory").at("kv_bytes"), model.at("memory").at("kv_bytes"));

  EXPECT_THAT(output_of({"inspect", needle_model()}), testing::HasSubstr("llama"));
  EXPECT_THAT(output_of({"inspect", needle_adapter()}), testing::HasSubstr("adapter_dim"));
  EXPECT_THAT(output_of({"inspect", tiny_llama() / "model.safetensors"}),
              testing::HasSubstr("model.embed_tokens.weight"));
}

TEST(Inspect, SaysHowAnAdapterChoosesAndASummaryOfItsTraining) {
  const Scratch scratch;
  const ProgramResult trained =
      run_program(train_arguments(scratch, {"--chunks", "fixed:16", "--first-layer", "window:48"}));
  ASSERT_EQ(trained.exit_code, 0) << trained.err;
  EXPECT_THAT(trained.err, testing::ContainsRegex("about .* for lessons and about .* for fits"));
  const std::string text = output_of({"inspect", scratch / "out"});
  for (const char* line : {"distance_term +true\n", "chunk_key +mean\n", "chunks +fixed:16\n",
                           "alpha +0.5\n", "min_chunk +8\n", "max_chunk +128\n", "sink +4\n",
                           "window +64\n", "first_layer +window:48\n", "selecting_layers +5\n",
                           "on disk +[0-9.]+ KiB\n", "in memory +[0-9.]+ KiB\n", "  lessons +2\n",
                           "  epochs +1\n", "  means of layers\n", "    kl +[0-9.]+\n"}) {
    EXPECT_THAT(text, testing::ContainsRegex(line));
  }
  EXPECT_LT(std::ranges::count(text, '\n'), 60) << "no figure of each layer";
  const json full = json_of({"inspect", scratch / "out", "--json"});
  EXPECT_EQ(full.at("training").at("losses").at("kl").size(), 5u);
}

TEST(Inspect, NamesDoNotReachTheTerminalRaw) {
  const Scratch scratch;
  TensorFile file;
  file.header["a\x1b[2Jb"] = {{"dtype", "F32"}, {"shape", {1}}, {"data_offsets", {0, 4}}};
  file.data = std::string(4, '\0');
  file.write(scratch.path("x.safetensors"));
  const std::string text = output_of({"inspect", scratch / "x.safetensors"});
  EXPECT_THAT(text, testing::Not(testing::HasSubstr("\x1b")));
  EXPECT_THAT(text, testing::HasSubstr("a\\u001b[2Jb"));
}

}  // namespace
}  // namespace chunkllm
