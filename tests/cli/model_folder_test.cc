// Folders as people have them: each must answer as the plain folder of the same model does.

#include "cli/bad_input.h"

namespace chunkllm {
namespace {

using Arguments = std::vector<std::string>;
using nlohmann::ordered_json;

constexpr const char* kWeights = "model.safetensors";
constexpr const char* kEmbedding = "model.embed_tokens.weight";
constexpr size_t kRowBytes = size_t{256} * 2;  // of the embedding: bf16

ProgramResult answer(const std::string& model, const Arguments& more = {}) {
  Arguments arguments{"generate",         "-m", model, "-t",    "1", "-p",
                      "Once upon a time", "-n", "12",  "--json"};
  arguments.insert(arguments.end(), more.begin(), more.end());
  return run_program(arguments);
}

std::string text_of(const ProgramResult& result) {
  EXPECT_EQ(result.exit_code, 0) << result.err;
  return result.exit_code == 0 ? ordered_json::parse(result.out).at("text") : "";
}

std::string plain_text() { return text_of(answer(needle_model())); }

size_t tensor_begin(const TensorFile& file, const std::string& name) {
  return file.header.at(name).at("data_offsets").at(0);
}

void rename_tensor(TensorFile& file, const std::string& from, const std::string& to) {
  const ordered_json entry = file.header.at(from);
  file.header.erase(from);
  file.header[to] = entry;
}

void append_tensor(TensorFile& file, const std::string& name, const std::vector<int64_t>& shape,
                   const std::string& bytes) {
  const size_t begin = file.data.size();
  file.data += bytes;
  file.header[name] = {
      {"dtype", "BF16"}, {"shape", shape}, {"data_offsets", {begin, begin + bytes.size()}}};
}

// The model with more rows than its tokenizer has tokens; each is that of the comma, which the
// model would like to say.
std::string padded(const Scratch& scratch, int64_t n_more) {
  const std::string wide = scratch.with_tensors(needle_model(), kWeights, [&](TensorFile& file) {
    const size_t begin = tensor_begin(file, kEmbedding);
    const std::string matrix = file.data.substr(begin, 4096 * kRowBytes);
    const int comma = 16;
    std::string rows = matrix;
    for (int64_t i = 0; i < n_more; ++i) rows += matrix.substr(comma * kRowBytes, kRowBytes);
    rename_tensor(file, kEmbedding, "unused");
    append_tensor(file, kEmbedding, {4096 + n_more, 256}, rows);
  });
  return scratch.with_json(wide, "config.json",
                           [&](ordered_json& config) { config["vocab_size"] = 4096 + n_more; });
}

TEST(ModelFolder, RowsWithoutATokenAreNeverChosen) {
  const Scratch scratch;
  const std::string model = padded(scratch, 700);
  EXPECT_EQ(text_of(answer(model)), plain_text());
  for (const Arguments& sampling :
       std::vector<Arguments>{{"--temp", "1"},
                              {"--temp", "50"},
                              {"--temp", "50", "--top-k", "4000"},
                              {"--temp", "2", "--repeat-penalty", "1.5"},
                              {"--temp", "3", "--ignore-eos"}}) {
    Arguments more = sampling;
    more.insert(more.end(), {"-s", "3"});
    EXPECT_NE(text_of(answer(model, more)), "");
  }
  // The same choices as without the rows, top-k among them.
  const Arguments top{"--temp", "1", "--top-k", "5", "-s", "9"};
  EXPECT_EQ(text_of(answer(model, top)), text_of(answer(needle_model(), top)));
}

TEST(ModelFolder, AHeadOfItsOwnCountsWhateverTheConfigurationSays) {
  const Scratch scratch;
  const auto with_head = [](TensorFile& file) {
    const std::string matrix = file.data.substr(tensor_begin(file, kEmbedding), 4096 * kRowBytes);
    // Each row one place further: other tokens are the likeliest.
    append_tensor(file, "lm_head.weight", {4096, 256},
                  matrix.substr(kRowBytes) + matrix.substr(0, kRowBytes));
  };
  const std::string tied = scratch.with_tensors(needle_model(), kWeights, with_head);
  const std::string untied = scratch.with_json(
      tied, "config.json", [](ordered_json& config) { config["tie_word_embeddings"] = false; });
  const std::string text = text_of(answer(tied));
  EXPECT_NE(text, plain_text());
  EXPECT_EQ(text, text_of(answer(untied)));
  const std::string file = scratch / "tied.gguf";
  ASSERT_EQ(run_program({"quantize", tied, file, "--type", "bf16"}).exit_code, 0);
  EXPECT_EQ(text_of(answer(file)), text);
  const ProgramResult inspected = run_program({"inspect", tied, "--json"});
  EXPECT_EQ(ordered_json::parse(inspected.out).at("tied_embeddings"), false);
}

TEST(ModelFolder, ACopyOfTheEmbeddingIsWrittenOnce) {
  const Scratch scratch;
  const std::string model = scratch.with_tensors(needle_model(), kWeights, [](TensorFile& file) {
    append_tensor(file, "lm_head.weight", {4096, 256},
                  file.data.substr(tensor_begin(file, kEmbedding), 4096 * kRowBytes));
  });
  EXPECT_EQ(text_of(answer(model)), plain_text());
  const std::string file = scratch / "copy.gguf";
  const std::string plain = scratch / "plain.gguf";
  ASSERT_EQ(run_program({"quantize", model, file, "--type", "bf16"}).exit_code, 0);
  ASSERT_EQ(run_program({"quantize", needle_model(), plain, "--type", "bf16"}).exit_code, 0);
  EXPECT_NEAR(static_cast<double>(std::filesystem::file_size(file)),
              static_cast<double>(std::filesystem::file_size(plain)), 256.0);
}

TEST(ModelFolder, TiedEmbeddingsMayBeStoredAsTheHead) {
  const Scratch scratch;
  const std::string model = scratch.with_tensors(needle_model(), kWeights, [](TensorFile& file) {
    rename_tensor(file, kEmbedding, "lm_head.weight");
  });
  EXPECT_EQ(text_of(answer(model)), plain_text());
  const std::string file = scratch / "head.gguf";
  ASSERT_EQ(run_program({"quantize", model, file, "--type", "bf16"}).exit_code, 0);
  EXPECT_EQ(text_of(answer(file)), plain_text());
  const std::string untied = scratch.with_json(
      model, "config.json", [](ordered_json& config) { config["tie_word_embeddings"] = false; });
  expect_failure(answer(untied), kFailure, {kEmbedding, "missing"}, "untied_head_alone");
}

TEST(ModelFolder, ASavedBaseModelLacksThePrefix) {
  const Scratch scratch;
  const std::string model = scratch.with_tensors(needle_model(), kWeights, [](TensorFile& file) {
    ordered_json header;
    for (const auto& [name, entry] : file.header.items()) {
      header[name.starts_with("model.") ? name.substr(6) : name] = entry;
    }
    file.header = header;
  });
  EXPECT_EQ(text_of(answer(model)), plain_text());
  const std::string file = scratch / "base.gguf";
  ASSERT_EQ(run_program({"quantize", model, file, "--type", "bf16"}).exit_code, 0);
  EXPECT_EQ(text_of(answer(file)), plain_text());
}

TEST(ModelFolder, TruncationAndPaddingOfTheTokenizerDoNotCount) {
  const Scratch scratch;
  const std::string model =
      scratch.with_json(needle_model(), "tokenizer.json", [](ordered_json& tokenizer) {
        tokenizer["truncation"] = {
            {"direction", "Right"}, {"max_length", 2}, {"strategy", "LongestFirst"}, {"stride", 0}};
        tokenizer["padding"] = {{"strategy", {{"Fixed", 64}}},
                                {"direction", "Left"},
                                {"pad_to_multiple_of", nullptr},
                                {"pad_id", 1},
                                {"pad_type_id", 0},
                                {"pad_token", "x"}};
      });
  EXPECT_EQ(text_of(answer(model)), plain_text());
}

TEST(ModelFolder, FlagsOfTheTokenizerConfigurationDoNotCount) {
  // tokenizer.json's post-processor alone says what is added, as in transformers 5.
  for (const bool bos : {true, false}) {
    const Scratch scratch;
    const std::string model =
        scratch.with_json(needle_model(), "tokenizer_config.json", [&](ordered_json& config) {
          config["add_bos_token"] = bos;
          config["add_eos_token"] = true;
        });
    const ordered_json result = ordered_json::parse(answer(model).out);
    EXPECT_EQ(result.at("text"), plain_text());
    EXPECT_EQ(result.at("prompt_tokens"),
              ordered_json::parse(answer(needle_model()).out).at("prompt_tokens"));
  }
}

TEST(ModelFolder, EveryEndTokenSurvivesConversion) {
  const Scratch scratch;
  const std::string without = scratch.without(needle_model(), "generation_config.json");
  // 285 is the token after the comma in what the model would say.
  const std::string model = scratch.with_json(without, "config.json", [](ordered_json& config) {
    config["eos_token_id"] = {1, 4, 2, 3, 285};
  });
  const ordered_json folder = ordered_json::parse(answer(model).out);
  EXPECT_EQ(folder.at("finish_reason"), "stop");
  const std::string file = scratch / "ends.gguf";
  const ProgramResult quantized = run_program({"quantize", model, file, "--type", "bf16"});
  ASSERT_EQ(quantized.exit_code, 0);
  EXPECT_THAT(quantized.err, testing::HasSubstr("5 tokens end an answer"));
  const std::string again = scratch / "again.gguf";
  ASSERT_EQ(run_program({"quantize", file, again, "--type", "f32"}).exit_code, 0);
  for (const std::string& path : {file, again}) {
    const ordered_json result = ordered_json::parse(answer(path).out);
    EXPECT_EQ(result.at("text"), folder.at("text"));
    EXPECT_EQ(result.at("finish_reason"), "stop");
  }
}

TEST(ModelFolder, AByteOrderMarkIsNoText) {
  const Scratch scratch;
  const auto n_tokens = [&](const std::string& text) -> int {
    const ProgramResult result = run_program({"generate", "-m", needle_model(), "-t", "1", "-n",
                                              "1", "--json", "-f", scratch.file("p.txt", text)});
    return ordered_json::parse(result.out).at("prompt_tokens");
  };
  EXPECT_EQ(n_tokens("\xef\xbb\xbfOnce upon a time"), n_tokens("Once upon a time"));
  EXPECT_GT(n_tokens("Once\xef\xbb\xbf upon a time"), n_tokens("Once upon a time"));
  for (const char* name : {"config.json", "tokenizer.json", "tokenizer_config.json"}) {
    const Scratch folder;
    const std::string text = read_text(needle_model() / name);
    EXPECT_EQ(text_of(answer(folder.with_text(needle_model(), name, "\xef\xbb\xbf" + text))),
              plain_text())
        << name;
  }
}

}  // namespace
}  // namespace chunkllm
