// chunkllm quantize: a model as a GGUF file of another precision.

#include <algorithm>
#include <cctype>
#include <cstdio>
#include <memory>
#include <nlohmann/json.hpp>
#include <string>
#include <utility>
#include <vector>

#include "base/error.h"
#include "base/memory.h"
#include "base/quant/encode.h"
#include "base/threads.h"
#include "cli/common.h"
#include "cli/options.h"
#include "convert/quantize.h"

namespace chunkllm::cli {
namespace {

struct QuantizeArgs {
  std::string in;
  std::string out;
  std::string type;
  int threads = 0;
  bool json = false;
};

// The types' names in lower case.
std::vector<std::string> type_names() {
  std::vector<std::string> names;
  for (const WritableType& type : writable_types()) {
    std::string name(dtype_name(type.dtype));
    for (char& c : name) c = static_cast<char>(std::tolower(static_cast<unsigned char>(c)));
    names.push_back(std::move(name));
  }
  return names;
}

std::string listed(const std::vector<std::string>& names) {
  std::string text;
  for (const std::string& name : names) text += (text.empty() ? "" : ", ") + name;
  return text;
}

DType parse_type(const std::string& name) {
  const std::vector<std::string> names = type_names();
  const auto found = std::ranges::find(names, name);
  if (found == names.end()) {
    fail(ErrorCode::kInvalidArgument, "there is no type {} to write; choose one of {}", name,
         listed(names));
  }
  return writable_types()[static_cast<size_t>(found - names.begin())].dtype;
}

void run(const QuantizeArgs& args) {
  set_threads(args.threads > 0 ? args.threads : usable_cores());
  Timer timer;
  QuantizeResult result;
  {
    ProgressBar bar("quantize", "bytes");
    result = quantize_model(
        {.in = args.in, .out = args.out, .type = parse_type(args.type)},
        [&](int64_t done, int64_t total) { bar.update(done, total); }, &interrupt_token());
  }
  for (const std::string& notice : result.notices) {
    std::fputs(fmt::format("note: {}\n", notice).c_str(), stderr);
  }
  if (args.json) {
    nlohmann::ordered_json json;
    json["out"] = args.out;
    json["type"] = args.type;
    json["tensors"] = result.n_tensors;
    json["parameters"] = result.n_parameters;
    json["bytes"] = result.out_bytes;
    json["seconds"] = timer.seconds();
    json["notices"] = result.notices;
    std::puts(json.dump().c_str());
    return;
  }
  std::fputs(
      fmt::format(
          "{}: {} tensors, {} parameters, {} ({:.2f} bits each) in {:.1f} s\n", args.out,
          result.n_tensors, result.n_parameters, format_bytes(result.out_bytes),
          8.0 * static_cast<double>(result.out_bytes) / static_cast<double>(result.n_parameters),
          timer.seconds())
          .c_str(),
      stderr);
}

}  // namespace

void add_quantize_command(CLI::App& app) {
  auto args = std::make_shared<QuantizeArgs>();
  CLI::App* command =
      app.add_subcommand("quantize", "Write a model as a GGUF file of another precision");
  command->add_option("in", args->in, "Hugging Face folder or GGUF file")
      ->required()
      ->check(not_empty("name a folder or a GGUF file"));
  command->add_option("out", args->out, "The GGUF file to write")
      ->required()
      ->check(not_empty("name a file"));
  command->add_option("--type", args->type, "Type of the matrices: " + listed(type_names()))
      ->required()
      ->check(CLI::IsMember(type_names()));
  command
      ->add_option("-t,--threads", args->threads,
                   "Threads; default: the cores this process may use")
      ->transform(whole_number(1, 4096));
  command->add_flag("--json", args->json, "Print one JSON object");
  command->callback([args] { run(*args); });
}

}  // namespace chunkllm::cli
