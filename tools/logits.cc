// Logits of every token of a sequence, for comparisons with other programs
// (tools/compare_logits.py).

#include <CLI/CLI.hpp>
#include <cstdio>
#include <exception>
#include <map>
#include <span>
#include <string>
#include <vector>

#include "base/error.h"
#include "base/json.h"
#include "engine/engine.h"
#include "formats/safetensors.h"
#include "model/transformer.h"

namespace chunkllm {
namespace {

constexpr int64_t kMaxTokens = 4096;  // they run as one block

struct Options {
  std::string model;
  std::string ids;
  std::string out;
  DtypeChoice dtype = DtypeChoice::kF32;
};

std::vector<int32_t> read_ids(const std::string& path, int64_t n_vocab) {
  const nlohmann::json json = read_json_file(path);
  if (!json.is_array() || json.empty() || std::ssize(json) > kMaxTokens) {
    fail(ErrorCode::kData, "{} must hold one array of 1 to {} token ids", path, kMaxTokens);
  }
  std::vector<int32_t> ids;
  for (const nlohmann::json& id : json) {
    if (!id.is_number_integer() || id < 0 || id >= n_vocab) {
      fail(ErrorCode::kData, "{}: {} is no token id; ids are whole numbers below {}", path,
           show_text(id.dump()), n_vocab);
    }
    ids.push_back(id.get<int32_t>());
  }
  return ids;
}

void run(const Options& options) {
  Engine engine({.model = options.model, .adapters = {}, .dtype = options.dtype});
  const std::vector<int32_t> ids = read_ids(options.ids, engine.config().n_vocab);
  engine.load_weights();
  const auto n = std::ssize(ids);
  KvCache cache(engine.config(), n, KvType::kF32);
  Transformer transformer(engine.weights(), n);
  FullRows rows;
  transformer.forward(ids, 0, cache, rows);
  std::vector<float> logits;
  for (int64_t t = 0; t < n; ++t) {
    const std::span<const float> row = transformer.logits(t);
    logits.insert(logits.end(), row.begin(), row.end());
  }
  write_safetensors(options.out, {{.name = "logits",
                                   .dtype = DType::kF32,
                                   .shape = {n, engine.config().n_vocab},
                                   .bytes = std::as_bytes(std::span(logits))}});
}

int report(const std::string& message, int exit_code) {
  std::fprintf(stderr, "error: %s\n", message.c_str());
  return exit_code;
}

}  // namespace
}  // namespace chunkllm

int main(int argc, char** argv) {
  CLI::App app{"Writes the logits of every token of a sequence, under full attention."};
  chunkllm::Options options;
  app.add_option("--model", options.model, "Model folder or GGUF file")->required();
  app.add_option("--ids", options.ids, "JSON array of token ids")->required()->type_name("FILE");
  app.add_option("--out", options.out, "safetensors file: logits, f32 [n_tokens, n_vocab]")
      ->required()
      ->type_name("FILE");
  const std::map<std::string, chunkllm::DtypeChoice> types{{"f32", chunkllm::DtypeChoice::kF32},
                                                           {"auto", chunkllm::DtypeChoice::kAuto}};
  app.add_option("--dtype", options.dtype, "f32, or auto: what the program computes in")
      ->transform(CLI::CheckedTransformer(types));
  try {
    app.parse(argc, argv);
    chunkllm::run(options);
    return 0;
  } catch (const CLI::CallForHelp& e) {
    return app.exit(e);
  } catch (const CLI::ParseError& e) {
    return chunkllm::report(std::string(e.what()) + "; see logits --help", 2);
  } catch (const std::exception& e) {
    return chunkllm::report(e.what(), 1);
  }
}
