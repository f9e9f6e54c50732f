// Tokenizing: MB/s of text to ids and back on one core, seconds to load the files.
// Usage: tokenizer_bench [benchmark options] [MODEL_DIR [TEXT_FILE]]; without them the small model
// of the repository and prose made from a seed.
#include <benchmark/benchmark.h>

#include <cstdio>
#include <exception>
#include <fstream>
#include <iterator>
#include <string>
#include <vector>

#include "base/random.h"
#include "data/synthetic.h"
#include "text/tokenizer/tokenizer.h"

namespace chunkllm {
namespace {

constexpr int64_t kTextBytes = 10'000'000;

std::string read_or_make_text(const char* path) {
  std::string text;
  if (path == nullptr) {
    Rng rng(1);
    text = make_text(rng, kTextBytes);
  } else {
    std::ifstream file(path, std::ios::binary);
    text.assign(std::istreambuf_iterator<char>(file), {});
  }
  return text;
}

// A stretch of at least kTextBytes without spaces, which is one piece to most tokenizers.
std::string repeated(std::string_view unit) {
  std::string text;
  while (std::ssize(text) < kTextBytes) text += unit;
  return text;
}

void set_bytes(benchmark::State& state, const std::string& text) {
  state.SetBytesProcessed(state.iterations() * std::ssize(text));
}

void run_encode(benchmark::State& state, const Tokenizer& tokenizer, const std::string& text) {
  if (tokenizer.decode(tokenizer.encode(text.substr(0, 1))) != text.substr(0, 1)) {
    state.SkipWithError("wrong result");
    return;
  }
  for (auto _ : state) benchmark::DoNotOptimize(tokenizer.encode(text).data());
  set_bytes(state, text);
}

void run_encode_with_offsets(benchmark::State& state, const Tokenizer& tokenizer,
                             const std::string& text) {
  if (tokenizer.encode_with_offsets(text).back().end != std::ssize(text)) {
    state.SkipWithError("wrong result");
    return;
  }
  for (auto _ : state) benchmark::DoNotOptimize(tokenizer.encode_with_offsets(text).data());
  set_bytes(state, text);
}

void run_decode(benchmark::State& state, const Tokenizer& tokenizer, const std::string& text) {
  const std::vector<int32_t> ids = tokenizer.encode(text);
  if (tokenizer.encode(tokenizer.decode(ids)) != ids) {
    state.SkipWithError("wrong result");
    return;
  }
  for (auto _ : state) benchmark::DoNotOptimize(tokenizer.decode(ids).data());
  set_bytes(state, text);
}

void run_load(benchmark::State& state, const std::string& folder) {
  for (auto _ : state) benchmark::DoNotOptimize(Tokenizer::from_folder(folder).n_vocab());
}

void register_all(const std::string& folder, const std::string& text) {
  const Tokenizer tokenizer = Tokenizer::from_folder(folder);
  const auto unit = benchmark::kMillisecond;
  benchmark::RegisterBenchmark("encode", run_encode, tokenizer, text)->Unit(unit);
  benchmark::RegisterBenchmark("encode_with_offsets", run_encode_with_offsets, tokenizer, text)
      ->Unit(unit);
  benchmark::RegisterBenchmark("decode", run_decode, tokenizer, text)->Unit(unit);
  const std::string letters = repeated("a");
  benchmark::RegisterBenchmark("encode/one_letter", run_encode, tokenizer, letters)->Unit(unit);
  const std::string words = repeated("nowordsendhere");
  benchmark::RegisterBenchmark("encode/no_spaces", run_encode, tokenizer, words)->Unit(unit);
  benchmark::RegisterBenchmark("load", run_load, folder)->Unit(unit);
}

}  // namespace
}  // namespace chunkllm

int main(int argc, char** argv) {
  benchmark::Initialize(&argc, argv);
  try {
    chunkllm::register_all(argc > 1 ? argv[1] : CHUNKLLM_SOURCE_DIR "/models/needle-6m",
                           chunkllm::read_or_make_text(argc > 2 ? argv[2] : nullptr));
  } catch (const std::exception& error) {
    std::fprintf(stderr, "error: %s\n", error.what());
    return 1;
  }
  benchmark::RunSpecifiedBenchmarks();
  return 0;
}
