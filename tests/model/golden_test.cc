// The forward pass against values that Hugging Face transformers computed in float32. Every folder
// of CHUNKLLM_FIXTURES/models with a golden.safetensors is run, and the committed
// tests/golden/models.
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <iostream>
#include <optional>
#include <string>
#include <vector>

#include "base/error.h"
#include "formats/safetensors.h"
#include "model/transformer.h"
#include "testing/relative_error.h"

namespace chunkllm {
namespace {

TEST(Comparator, SeesWhatItShould) {
  const std::vector<float> expected{1.0f, -2.0f, 3.0f};
  EXPECT_EQ(relative_error(expected, expected), 0.0);
  EXPECT_GT(relative_error(std::vector{1.0f, 2.0f, 3.0f}, expected), 1.0) << "sign";
  EXPECT_GT(relative_error(std::vector{1.0f, -2.0f, 3.1f}, expected), 1e-2);
  EXPECT_EQ(relative_error(std::vector{1.0f, NAN, 3.0f}, expected), INFINITY);
  EXPECT_EQ(relative_error(std::vector{1.0f, -2.0f}, expected), INFINITY) << "shape";
}

struct Golden {
  std::vector<int32_t> input_ids;
  std::vector<int32_t> greedy_ids;
  std::vector<int32_t> chunk_ends;  // index of each chunk's last token
  std::vector<float> greedy_gap, hidden_1, logits, chunk_attention;

  explicit Golden(const std::filesystem::path& path) {
    const SafetensorsFile file(path);
    input_ids = ints(file, "input_ids");
    greedy_ids = ints(file, "greedy_ids");
    chunk_ends = ints(file, "chunk_ends");
    greedy_gap = floats(file, "greedy_gap");
    hidden_1 = floats(file, "hidden_1");
    logits = floats(file, "logits");
    chunk_attention = floats(file, "chunk_attention");
  }

 private:
  static std::vector<int32_t> ints(const SafetensorsFile& file, const char* name) {
    const TensorView* tensor = file.find(name);
    if (tensor == nullptr || tensor->dtype != DType::kI32) throw std::runtime_error(name);
    std::vector<int32_t> values(static_cast<size_t>(tensor->n_elements()));
    std::memcpy(values.data(), tensor->bytes.data(), tensor->bytes.size());
    return values;
  }
  static std::vector<float> floats(const SafetensorsFile& file, const char* name) {
    const TensorView* tensor = file.find(name);
    if (tensor == nullptr) throw std::runtime_error(name);
    return file.require_floats(name, tensor->shape);
  }
};

// Attends to everything and keeps what the golden file has.
class Recorder : public FullRows {
 public:
  Recorder(const ModelConfig& config, const Golden& golden) : config_(config) {
    int64_t begin = 0;
    for (const int32_t last : golden.chunk_ends) {
      chunks_.push_back({begin, last + 1});
      begin = last + 1;
    }
    n_tokens_ = static_cast<int64_t>(golden.input_ids.size());
    chunk_attention.resize(static_cast<size_t>(config.n_layers * n_tokens_) * chunks_.size());
    hidden_1.resize(static_cast<size_t>(n_tokens_ * config.d_model));
  }
  bool wants_log_sum_exp() const override { return true; }
  void attention_done(const LayerInput& input, const float* log_sum_exp) override {
    if (input.positions.end > n_tokens_) return;
    const auto n_chunks = static_cast<int64_t>(chunks_.size());
    for (int64_t t = input.positions.begin; t < input.positions.end; ++t) {
      const int64_t row = t - input.positions.begin;
      const int64_t visible = t + 1 - config_.rows_visible(input.layer, t + 1);
      std::vector<Range> chunks = chunks_;
      for (Range& chunk : chunks) chunk.begin = std::min(std::max(chunk.begin, visible), chunk.end);
      chunk_attention_mass({.q = input.q + row * input.q_stride,
                            .log_sum_exp = log_sum_exp + row * config_.n_heads,
                            .positions = {&t, 1},
                            .n_heads = config_.n_heads,
                            .scale = config_.attention_scale()},
                           input.kv, chunks,
                           chunk_attention.data() + (input.layer * n_tokens_ + t) * n_chunks);
    }
  }
  void layer_done(int64_t layer, Range positions, const float* hidden) override {
    if (layer != 0 || positions.end > n_tokens_) return;
    std::copy_n(hidden, positions.size() * config_.d_model,
                hidden_1.begin() + positions.begin * config_.d_model);
  }

  std::vector<float> hidden_1;         // [n_tokens, d_model]
  std::vector<float> chunk_attention;  // [n_layers, n_tokens, n_chunks]

 private:
  const ModelConfig& config_;
  std::vector<Range> chunks_;
  int64_t n_tokens_ = 0;
};

int32_t argmax(std::span<const float> logits) {
  return static_cast<int32_t>(std::ranges::max_element(logits) - logits.begin());
}

// Compares one model; `tolerance` is of relative norms. Greedy tokens are compared as long as the
// gap between the two best logits exceeds what the tolerance explains.
void compare_model(const std::filesystem::path& model, const Golden& golden, Precision precision,
                   double tolerance) {
  const ModelWeights weights = load_weights(model, precision);
  const auto n = static_cast<int64_t>(golden.input_ids.size());
  const int64_t n_greedy = static_cast<int64_t>(golden.greedy_ids.size());
  const KvType kv_type = precision == kF32Precision ? KvType::kF32 : KvType::kBf16;
  KvCache cache(weights.config, n + n_greedy, kv_type);
  constexpr int64_t kBlock = 128;
  Transformer transformer(weights, kBlock);
  Recorder recorder(weights.config, golden);
  std::vector<float> logits;
  double largest_logit = 0;
  for (int64_t begin = 0; begin < n; begin += kBlock) {
    const int64_t count = std::min(kBlock, n - begin);
    transformer.forward(
        std::span(golden.input_ids).subspan(static_cast<size_t>(begin), static_cast<size_t>(count)),
        begin, cache, recorder);
    for (int64_t t = 0; t < count; ++t) {
      const std::span<const float> row = transformer.logits(t);
      logits.insert(logits.end(), row.begin(), row.end());
      for (const float logit : row)
        largest_logit = std::max(largest_logit, std::abs(double{logit}));
    }
  }
  const double hidden_error = relative_error(recorder.hidden_1, golden.hidden_1);
  const double logits_error = relative_error(logits, golden.logits);
  const double mass_error = relative_error(recorder.chunk_attention, golden.chunk_attention);
  EXPECT_LE(hidden_error, tolerance);
  EXPECT_LE(logits_error, tolerance);
  EXPECT_LE(mass_error, tolerance);

  int64_t n_equal = 0;
  std::vector<float> last(logits.end() - weights.config.n_vocab, logits.end());
  for (int64_t i = 0; i < n_greedy; ++i) {
    const auto index = static_cast<size_t>(i);
    const int32_t token = argmax(last);
    if (token != golden.greedy_ids[index]) {
      EXPECT_LE(golden.greedy_gap[index], 2 * tolerance * largest_logit) << "greedy token " << i;
    } else {
      ++n_equal;
    }
    transformer.forward({&golden.greedy_ids[index], 1}, n + i, cache, recorder);
    const std::span<const float> row = transformer.logits(0);
    last.assign(row.begin(), row.end());
  }
  std::cout << fmt::format(
      "  {}: logits {:.1e}, hidden_1 {:.1e}, chunk_attention {:.1e}, greedy {} of {}\n",
      product_type_name(precision.products), logits_error, hidden_error, mass_error, n_equal,
      n_greedy);
}

// A config.json that holds a path instead of JSON stands for the model at that path.
std::filesystem::path resolve(const std::filesystem::path& folder) {
  std::ifstream file(folder / "config.json");
  std::string first_line;
  std::getline(file, first_line);
  if (first_line.starts_with("{") || first_line.empty()) return folder;
  return (folder / first_line).parent_path();
}

void run_folder(const std::filesystem::path& models) {
  std::vector<std::filesystem::path> folders;
  std::error_code error;
  for (const auto& entry : std::filesystem::directory_iterator(models, error)) {
    if (std::filesystem::exists(entry.path() / "golden.safetensors"))
      folders.push_back(entry.path());
  }
  if (folders.empty()) GTEST_SKIP() << "no golden models in " << models;
  std::ranges::sort(folders);
  int64_t n_run = 0;
  for (const std::filesystem::path& folder : folders) {
    SCOPED_TRACE(folder.string());
    const std::filesystem::path model = resolve(folder);
    try {
      read_model_config(model);
    } catch (const Error& e) {
      ASSERT_EQ(e.code(), ErrorCode::kUnsupported) << e.what();
      std::cout << folder.filename().string() << ": skipped, " << e.what() << '\n';
      continue;
    }
    std::cout << folder.filename().string() << ":\n";
    const Golden golden(folder / "golden.safetensors");
    compare_model(model, golden, kF32Precision, 1e-4);
    if (bf16_products_available()) compare_model(model, golden, kBf16Precision, 3e-2);
    ++n_run;
  }
  EXPECT_GT(n_run, 0);
}

TEST(GoldenModels, Fixtures) {
  const char* folder = std::getenv("CHUNKLLM_FIXTURES");
  const std::filesystem::path fixtures =
      folder != nullptr ? folder : CHUNKLLM_SOURCE_DIR "/../shared/fixtures";
  run_folder(fixtures / "models");
}

TEST(GoldenModels, Committed) { run_folder(CHUNKLLM_SOURCE_DIR "/tests/golden/models"); }

}  // namespace
}  // namespace chunkllm
