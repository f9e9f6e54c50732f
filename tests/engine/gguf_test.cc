// Models as GGUF files: the same model as the folder they were made of.
#include "formats/gguf.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cstdlib>
#include <fstream>
#include <iostream>
#include <numeric>

#include "convert/quantize.h"
#include "engine/engine.h"
#include "model/gguf_config.h"
#include "model/gguf_names.h"
#include "model/transformer.h"
#include "testing/expect_error.h"
#include "testing/file_size_limit.h"
#include "testing/models.h"
#include "testing/relative_error.h"
#include "testing/temp_folder.h"

namespace chunkllm {
namespace {

// Logits of all tokens of a made-up text.
std::vector<float> logits_of(const std::filesystem::path& model, Precision type) {
  const ModelWeights weights = load_weights(model, type);
  const ModelConfig& c = weights.config;
  std::vector<int32_t> tokens;
  for (int64_t i = 0; i < 70; ++i) tokens.push_back(static_cast<int32_t>(i * i * 31 % c.n_vocab));
  const auto n = static_cast<int64_t>(tokens.size());
  KvCache cache(c, n, KvType::kF32);
  Transformer transformer(weights, n);
  FullRows rows;
  transformer.forward(tokens, 0, cache, rows);
  std::vector<float> logits;
  for (int64_t t = 0; t < n; ++t) {
    const std::span<const float> row = transformer.logits(t);
    logits.insert(logits.end(), row.begin(), row.end());
  }
  return logits;
}

class GgufModel : public testing::Test {
 protected:
  std::filesystem::path written(const std::filesystem::path& model, DType type) {
    const std::filesystem::path path = folder_ / (std::string(dtype_name(type)) + ".gguf");
    result_ = quantize_model({.in = model, .out = path, .type = type});
    return path;
  }
  const TempFolder folder_;
  QuantizeResult result_;
};

void expect_same_shape(const ModelConfig& a, const ModelConfig& b) {
  EXPECT_EQ(a.n_layers, b.n_layers);
  EXPECT_EQ(a.d_model, b.d_model);
  EXPECT_EQ(a.n_heads, b.n_heads);
  EXPECT_EQ(a.n_kv_heads, b.n_kv_heads);
  EXPECT_EQ(a.head_dim, b.head_dim);
  EXPECT_EQ(a.d_ff, b.d_ff);
  EXPECT_EQ(a.n_vocab, b.n_vocab);
  EXPECT_EQ(a.max_positions, b.max_positions);
  EXPECT_EQ(a.rms_norm_epsilon, b.rms_norm_epsilon);
  EXPECT_EQ(a.tied_embeddings, b.tied_embeddings);
  EXPECT_EQ(a.qkv_bias, b.qkv_bias);
  EXPECT_EQ(a.output_bias, b.output_bias);
  EXPECT_EQ(a.ffn_bias, b.ffn_bias);
  EXPECT_EQ(a.qk_norm, b.qk_norm);
}

TEST_F(GgufModel, FileOfTheSamePrecisionIsTheSameModel) {
  for (const auto& model : {needle_model(), tiny_llama()}) {
    SCOPED_TRACE(model);
    const std::vector<float> expected = logits_of(model, kF32Precision);
    const std::string fingerprint = load_weights(model, kF32Precision).fingerprint();
    for (const DType type : {DType::kF32, DType::kBf16}) {
      const std::filesystem::path file = written(model, type);
      expect_same_shape(read_model_config(file), read_model_config(model));
      const ModelWeights weights = load_weights(file, kF32Precision);
      EXPECT_EQ(weights.fingerprint(), fingerprint);
      EXPECT_EQ(weights.main_type(), type);
      EXPECT_EQ(logits_of(file, kF32Precision), expected);
    }
  }
}

TEST_F(GgufModel, QuantisedFilesAreNearTheModel) {
  const std::vector<float> expected = logits_of(needle_model(), kF32Precision);
  const std::string fingerprint = load_weights(needle_model(), kF32Precision).fingerprint();
  for (const auto& [type, tolerance] : {std::pair{DType::kF16, 1e-3},
                                        {DType::kQ8_0, 0.03},
                                        {DType::kQ5_1, 0.15},  // half the steps of four bits
                                        {DType::kQ5_0, 0.15},
                                        {DType::kQ4_1, 0.3},
                                        {DType::kQ4_0, 0.3}}) {
    const std::filesystem::path file = written(needle_model(), type);
    EXPECT_EQ(load_weights(file, kF32Precision).fingerprint(), fingerprint);
    EXPECT_LT(relative_error(logits_of(file, kF32Precision), expected), tolerance)
        << dtype_name(type);
  }
  const GgufFile q4(folder_ / "Q4_0.gguf");
  EXPECT_EQ(q4.find("token_embd.weight")->dtype, DType::kQ8_0) << "it is the head, too";
  EXPECT_EQ(q4.find("blk.0.attn_q.weight")->dtype, DType::kQ4_0);
  EXPECT_EQ(q4.find("blk.0.attn_norm.weight")->dtype, DType::kF32);
  EXPECT_EQ(q4.integer("general.file_type", 0, 100), 2);
}

TEST_F(GgufModel, GgufToGgufEqualsFolderToGguf) {
  const std::filesystem::path bf16 = written(needle_model(), DType::kBf16);
  const std::filesystem::path direct = written(needle_model(), DType::kQ8_0);
  const std::filesystem::path again = folder_ / "again.gguf";
  quantize_model({.in = bf16, .out = again, .type = DType::kQ8_0});
  const GgufFile a(direct);
  const GgufFile b(again);
  ASSERT_EQ(a.tensors().size(), b.tensors().size());
  for (const auto& [name, tensor] : a.tensors()) {
    EXPECT_TRUE(std::ranges::equal(tensor.bytes, b.find(name)->bytes)) << name;
  }
  EXPECT_EQ(a.metadata().size(), b.metadata().size());
}

TEST_F(GgufModel, TokenizerAndTemplateAreTheFolders) {
  EngineOptions options;
  options.model = needle_model();
  const Engine folder(options);
  options.model = written(needle_model(), DType::kQ8_0);
  const Engine file(options);
  const std::string text =
      "It's 1234 o'clock -- caf\u00e9!  \n\n\tNaïve <|user|> \u4e2d\u6587 <|end_of_text|> x";
  for (const bool special : {false, true}) {
    const EncodeOptions encode{.add_special_tokens = special, .parse_special = special};
    EXPECT_EQ(file.tokenizer().encode(text, encode), folder.tokenizer().encode(text, encode));
  }
  EXPECT_EQ(file.special_ids(), folder.special_ids());
  EXPECT_EQ(file.tokenizer().bos_id(), folder.tokenizer().bos_id());
  EXPECT_EQ(file.tokenizer().eos_id(), folder.tokenizer().eos_id());
  std::vector<int32_t> ends = file.eos_ids();
  std::vector<int32_t> expected = folder.eos_ids();
  std::ranges::sort(ends);
  std::ranges::sort(expected);
  EXPECT_EQ(ends, expected);
  const auto chat = [](const Engine& engine) {
    return engine.chat_template()
        .encode(engine.tokenizer(), {{"user", "a"}, {"assistant", "b"}, {"user", "c"}}, true)
        .ids;
  };
  EXPECT_EQ(chat(file), chat(folder));
}

TEST_F(GgufModel, AdaptersApply) {
  EngineOptions options;
  options.model = written(needle_model(), DType::kQ4_0);
  options.adapters = {needle_adapter()};
  Engine engine(options);
  engine.load_weights();
  EXPECT_NE(engine.adapters().sentence, nullptr);
}

TEST_F(GgufModel, QuantisingTwiceIsRefused) {
  const std::filesystem::path q4 = written(needle_model(), DType::kQ4_0);
  expect_error(ErrorCode::kUnsupported, "use the original model",
               [&] { quantize_model({.in = q4, .out = folder_ / "x", .type = DType::kQ8_0}); });
  EXPECT_FALSE(std::filesystem::exists(folder_ / "x"));
  // As it is, or in full precision, it may be written.
  quantize_model({.in = q4, .out = folder_ / "f32.gguf", .type = DType::kF32});
  EXPECT_LT(
      relative_error(logits_of(folder_ / "f32.gguf", kF32Precision), logits_of(q4, kF32Precision)),
      1e-5);
}

TEST_F(GgufModel, AFullDiskLeavesNothing) {
  const FileSizeLimit limit(100'000);
  expect_error(ErrorCode::kIo, "x.gguf", [&] {
    quantize_model({.in = tiny_llama(), .out = folder_ / "x.gguf", .type = DType::kF32});
  });
  EXPECT_TRUE(std::filesystem::is_empty(folder_.path()));
}

TEST_F(GgufModel, WhatCannotBeWrittenIsRefused) {
  expect_error(ErrorCode::kInvalidArgument, "is a folder", [&] {
    quantize_model({.in = tiny_llama(), .out = folder_.path(), .type = DType::kF32});
  });
  expect_error(ErrorCode::kInvalidArgument, "Q6_K", [&] {
    quantize_model({.in = tiny_llama(), .out = folder_ / "x", .type = DType::kQ6K});
  });
  std::string lacking = read_text(written(tiny_llama(), DType::kF32));
  lacking.at(lacking.find("blk.2.ffn_up.weight") + 4) = '7';
  write_text(folder_ / "lacking.gguf", lacking);
  expect_error(ErrorCode::kData, "blk.2.ffn_up.weight", [&] {
    quantize_model({.in = folder_ / "lacking.gguf", .out = folder_ / "x", .type = DType::kF32});
  });
  CancelToken cancel;
  cancel.request();
  expect_error(ErrorCode::kInterrupted, "interrupted", [&] {
    quantize_model({.in = tiny_llama(), .out = folder_ / "x", .type = DType::kF32}, {}, &cancel);
  });
  EXPECT_FALSE(std::filesystem::exists(folder_ / "x"));
}

TEST_F(GgufModel, TooManyEndTokensAreRefused) {
  const GgufFile file(written(tiny_llama(), DType::kF32));
  GgufMetadata metadata;
  for (const GgufValue& value : file.metadata()) metadata.set(value);
  std::vector<int32_t> ends(1025);
  std::iota(ends.begin(), ends.end(), 0);
  metadata.set_integers(kAllEndTokens, ends);
  std::vector<GgufTensorInfo> infos;
  for (const auto& [name, tensor] : file.tensors()) {
    infos.push_back({name, tensor.dtype, tensor.shape});
  }
  GgufWriter writer(folder_ / "many.gguf", metadata, infos);
  for (const auto& [name, tensor] : file.tensors()) writer.write(std::as_bytes(tensor.bytes));
  writer.commit();
  expect_error(ErrorCode::kData, "more than 1024 tokens end an answer",
               [&] { read_model_config(folder_ / "many.gguf"); });
}

TEST(GgufNames, AreEachOthersInverse) {
  const Architecture& llama = find_architecture("llama", "here");
  for (const char* name :
       {"token_embd.weight", "output_norm.weight", "output.weight", "blk.0.attn_q.weight",
        "blk.17.attn_k.bias", "blk.3.ffn_down.weight", "blk.2.attn_q_norm.weight"}) {
    const auto hf = hf_tensor_name(llama, name);
    ASSERT_TRUE(hf) << name;
    EXPECT_EQ(gguf_tensor_name(llama, *hf), name);
  }
  for (const char* name : {"", "x", "blk.attn_q.weight", "blk.0.attn_q", "blk.x.attn_q.weight",
                           "blk.0.ffn_gate_exps.weight", "blk.0.attn_q.scale", "blk.0"}) {
    EXPECT_FALSE(hf_tensor_name(llama, name)) << name;
  }
  for (int64_t row = 0; row < 96; ++row) {
    EXPECT_EQ(halved_row(interleaved_row(row, 48), 48), row);
  }
  EXPECT_EQ(interleaved_row(0, 48), 0);
  EXPECT_EQ(interleaved_row(24, 48), 1) << "the second half follows the first number";
  EXPECT_EQ(interleaved_row(49, 48), 50);
}

// Every model of the fixtures keeps its logits on the way through a file of 32-bit floats. Where
// its rotary embedding is Llama 3's, frequencies go through divisors that are rounded.
TEST(GoldenGguf, FixturesKeepTheirLogits) {
  const char* variable = std::getenv("CHUNKLLM_FIXTURES");
  const std::filesystem::path fixtures =
      variable != nullptr ? variable : CHUNKLLM_SOURCE_DIR "/../shared/fixtures";
  const TempFolder folder;
  int n_models = 0;
  std::error_code error;
  for (const auto& entry : std::filesystem::directory_iterator(fixtures / "models", error)) {
    if (!std::filesystem::exists(entry.path() / "model.safetensors") &&
        !std::filesystem::exists(entry.path() / "model.safetensors.index.json")) {
      continue;
    }
    std::ifstream config(entry.path() / "config.json");
    if (config.peek() != '{') continue;  // a path to another model
    SCOPED_TRACE(entry.path());
    const std::filesystem::path file = folder / "model.gguf";
    quantize_model({.in = entry.path(), .out = file, .type = DType::kF32});
    expect_same_shape(read_model_config(file), read_model_config(entry.path()));
    EXPECT_EQ(load_weights(file, kF32Precision).fingerprint(),
              load_weights(entry.path(), kF32Precision).fingerprint());
    const double difference =
        relative_error(logits_of(file, kF32Precision), logits_of(entry.path(), kF32Precision));
    std::cout << entry.path().filename().string() << ": " << difference << '\n';
    EXPECT_LE(difference, 1e-6);
    ++n_models;
  }
  if (n_models == 0) GTEST_SKIP() << "no fixtures in " << fixtures;
}

}  // namespace
}  // namespace chunkllm
