// chunkllm inspect: what a model or adapter is, and the memory it needs.

#include <algorithm>
#include <cstdio>
#include <memory>
#include <nlohmann/json.hpp>
#include <numeric>

#include "base/error.h"
#include "base/json.h"
#include "base/memory.h"
#include "cli/common.h"
#include "cli/options.h"
#include "engine/session_memory.h"
#include "formats/gguf.h"
#include "model/checkpoint.h"
#include "model/weights.h"
#include "select/chunk/adapter.h"

namespace chunkllm::cli {
namespace {

using Json = nlohmann::ordered_json;

struct InspectArgs {
  std::string path;
  std::string adapter;
  std::optional<KvType> kv_type;
  DtypeChoice dtype = DtypeChoice::kAuto;
  int64_t ctx = 0;
  bool tensors = false;
  bool json = false;
};

Json tensor_list(const TensorMap& tensors) {
  Json list = Json::array();
  for (const auto& [name, tensor] : tensors) {
    list.push_back(
        {{"name", tensor.name}, {"dtype", dtype_name(tensor.dtype)}, {"shape", tensor.shape}});
  }
  return list;
}

int64_t count_parameters(const TensorMap& tensors) {
  return std::accumulate(
      tensors.begin(), tensors.end(), int64_t{0},
      [](int64_t sum, const auto& entry) { return sum + entry.second.n_elements(); });
}

// How many tensors there are of each type, and their bytes.
Json count_types(const TensorMap& tensors) {
  std::map<DType, std::pair<int64_t, int64_t>> counts;
  for (const auto& [name, tensor] : tensors) {
    auto& [n_tensors, n_bytes] = counts[tensor.dtype];
    ++n_tensors;
    n_bytes += static_cast<int64_t>(tensor.bytes.size());
  }
  Json json = Json::object();
  for (const auto& [dtype, count] : counts) {
    json[std::string(dtype_name(dtype))] = {{"count", count.first}, {"bytes", count.second}};
  }
  return json;
}

// As --chunks and --first-layer of `train` have it.
std::string with_tokens(std::string_view kind, int64_t n_tokens) {
  return fmt::format("{}:{}", kind, n_tokens);
}

Json describe_adapter(const Adapter& adapter, const std::filesystem::path& folder) {
  const AdapterConfig& config = adapter.config;
  const std::string_view first_layer = enum_name(config.first_layer);
  return {
      {"model_type", config.model_type},
      {"n_layers", config.n_layers},
      {"selecting_layers", config.n_selecting()},
      {"d_model", config.d_model},
      {"selection_heads", config.selection_heads},
      {"adapter_dim", config.adapter_dim},
      {"distance_term", config.distance_term},
      {"chunk_key", enum_name(config.chunk_key)},
      {"chunks", config.fixed_chunk > 0 ? with_tokens("fixed", config.fixed_chunk) : "sentence"},
      {"alpha", config.alpha},
      {"min_chunk", config.min_chunk},
      {"max_chunk", config.max_chunk},
      {"sink", config.sink},
      {"window", config.window},
      {"first_layer", config.has_first_layer_tokens()
                          ? with_tokens(first_layer, config.first_layer_tokens)
                          : std::string(first_layer)},
      {"parameters", adapter.n_parameters()},
      {"on_disk_bytes", adapter_file_bytes(folder)},
      {"in_memory_bytes", adapter.size_bytes()},
      {"fingerprint", config.fingerprint},
      {"training", Json::parse(config.training)}};
}

// What a reader wants of `training`: not what the rest of the adapter says, no digests, and means
// in place of figures by layer.
Json training_summary(const Json& adapter) {
  constexpr std::string_view kLeftOut[] = {"first_layer_tokens", "lesson_format"};
  Json summary = Json::object();
  Json means = Json::object();
  const auto add = [&](const Json& fields) {
    for (const auto& [name, value] : fields.items()) {
      constexpr size_t kDigits = 64;
      const bool is_digest =
          value.is_string() && value.get_ref<const std::string&>().size() == kDigits;
      const bool is_left_out = adapter.contains(name) || is_digest ||
                               std::ranges::find(kLeftOut, name) != std::end(kLeftOut);
      if (value.is_primitive() && !is_left_out) summary[name] = value;
      const bool is_by_layer =
          value.is_object() && !value.empty() &&
          std::ranges::all_of(value, [](const Json& figure) { return figure.is_number(); });
      if (!is_by_layer) continue;
      double sum = 0;
      for (const Json& figure : value) sum += figure.get<double>();
      means[name] = sum / static_cast<double>(value.size());
    }
  };
  const Json& training = adapter.at("training");
  if (!training.is_object()) return summary;
  add(training);
  for (const char* name : {"sequences", "seq_len"}) {  // 0: as many and as long as need be
    if (summary.value(name, Json()) == 0) summary.erase(name);
  }
  if (training.contains("losses")) add(training["losses"]);
  if (!means.empty()) summary["means of layers"] = means;
  return summary;
}

Json describe_model(const InspectArgs& args) {
  const std::filesystem::path model = args.path;
  const ModelConfig config = read_model_config(model);
  const Checkpoint checkpoint(model, config);
  check_tensors(checkpoint, config);
  const Precision precision = resolve_precision(args.dtype);
  const int64_t n_parameters = count_parameters(checkpoint.tensors());
  Json json = {{"model_type", config.model_type},
               {"n_layers", config.n_layers},
               {"d_model", config.d_model},
               {"n_heads", config.n_heads},
               {"n_kv_heads", config.n_kv_heads},
               {"head_dim", config.head_dim},
               {"d_ff", config.d_ff},
               {"n_vocab", config.n_vocab},
               {"max_positions", config.max_positions},
               {"rope", rope_kind_name(config.rope.kind)},
               {"rope_theta", config.rope.theta},
               {"sliding_window", config.window},
               {"sliding_layers", std::ranges::count(config.sliding_layers, true)},
               {"tied_embeddings", config.tied_embeddings && !checkpoint.has_head()},
               {"parameters", n_parameters},
               {"types", count_types(checkpoint.tensors())}};

  std::optional<Adapter> adapter;
  if (!args.adapter.empty() && args.adapter != kNoAdapter) {
    adapter = load_adapter(args.adapter);
    check_adapter_fits(*adapter, config, checkpoint_fingerprint(checkpoint, config), args.adapter);
  }
  warn_of_positions("--ctx", args.ctx, config.max_positions);
  SessionOptions options;
  options.ctx = args.ctx > 0 ? args.ctx : config.max_positions;
  options.kv_type = kv_type_or_default(args.kv_type, precision);
  options.policy = &default_policy(AdapterSet::only(adapter ? &*adapter : nullptr));
  const SessionMemory session =
      session_memory(config, adapter ? &adapter->config : nullptr, options);
  const int64_t weights_bytes = packed_weights_bytes(checkpoint, config, precision);
  const int64_t adapter_bytes = adapter ? adapter->size_bytes() : 0;
  json["memory"] = {{"ctx", options.ctx},
                    {"dtype", product_type_name(precision.products)},
                    {"int8_decode", precision.int8_inputs != Int8Inputs::kNone},
                    {"int8_prefill", precision.int8_inputs == Int8Inputs::kAlways},
                    {"kv_type", enum_name(options.kv_type)},
                    {"weights_bytes", weights_bytes},
                    {"adapter_bytes", adapter_bytes},
                    {"kv_bytes", session.kv_bytes},
                    {"chunk_index_bytes", session.chunk_index_bytes},
                    {"workspace_bytes", session.workspace_bytes},
                    {"total_bytes", weights_bytes + adapter_bytes + session.total_bytes()},
                    {"available_bytes", available_memory_bytes()}};
  if (adapter) {
    json["adapter"] = describe_adapter(*adapter, args.adapter);
    json["adapter"]["share_of_parameters"] =
        static_cast<double>(adapter->n_parameters()) / static_cast<double>(n_parameters);
  }
  if (args.tensors || args.json) json["tensors"] = tensor_list(checkpoint.tensors());
  return json;
}

bool has_file(const std::string& path, const char* name) {
  return std::filesystem::exists(std::filesystem::path(path) / name);
}

Json describe(const InspectArgs& args) {
  if (has_file(args.path, "adapter_config.json")) {
    Json json = describe_adapter(load_adapter(args.path), args.path);
    const SafetensorsFile file = open_adapter_tensors(args.path);
    if (args.tensors || args.json) json["tensors"] = tensor_list(file.tensors());
    return json;
  }
  if (has_file(args.path, "config.json") || is_gguf_file(args.path)) return describe_model(args);
  if (args.path.ends_with(".safetensors")) {
    const SafetensorsFile file(args.path);
    return {{"parameters", count_parameters(file.tensors())},
            {"tensors", tensor_list(file.tensors())}};
  }
  fail(ErrorCode::kData,
       "{} is no model or adapter folder (no config.json or adapter_config.json), no GGUF file and "
       "no .safetensors file",
       args.path);
}

// A text of a file, escaped if a terminal would not show it as it is.
std::string printable(const std::string& text) {
  const std::string shown = show_text(text);
  return shown == '"' + text + '"' ? text : shown;
}

// One line a field; bytes with their unit; nested objects indented; of trainings a summary.
void print_fields(const Json& json, const std::string& indent) {
  for (const auto& [name, value] : json.items()) {
    if (name == "tensors") {
      std::puts((indent + "tensors").c_str());
      for (const Json& tensor : value) {
        std::puts(fmt::format("{}  {:<52} {:<5} {}", indent,
                              printable(tensor["name"].get<std::string>()),
                              tensor["dtype"].get<std::string>(), tensor["shape"].dump())
                      .c_str());
      }
    } else if (value.is_object()) {
      std::puts((indent + printable(name)).c_str());
      print_fields(name == "training" ? training_summary(json) : value, indent + "  ");
    } else {
      const bool is_bytes = name.ends_with("bytes") && value.is_number_integer();
      std::string label = is_bytes && name.size() > 6 ? name.substr(0, name.size() - 6) : name;
      if (is_bytes) std::ranges::replace(label, '_', ' ');
      const std::string text = is_bytes            ? format_bytes(value.get<int64_t>())
                               : value.is_string() ? printable(value.get<std::string>())
                               : value.is_number_float()
                                   ? fmt::format("{:.4g}", value.get<double>())
                                   : value.dump();
      std::puts(fmt::format("{}{:<24} {}", indent, printable(label), text).c_str());
    }
  }
}

void run(const InspectArgs& args) {
  if (!std::filesystem::exists(args.path)) {
    fail(ErrorCode::kIo, "{} does not exist; name a model folder, an adapter folder or a file",
         args.path);
  }
  const Json json = describe(args);
  if (args.json) {
    std::puts(json.dump().c_str());
  } else {
    print_fields(json, "");
  }
}

}  // namespace

void add_inspect_command(CLI::App& app) {
  auto args = std::make_shared<InspectArgs>();
  CLI::App* command =
      app.add_subcommand("inspect", "Say what a model, adapter or safetensors file is");
  command
      ->add_option("path", args->path,
                   "Model folder, GGUF file, adapter folder or .safetensors file")
      ->required()
      ->check(not_empty("name a folder or a file"));
  command
      ->add_option("--adapter", args->adapter,
                   fmt::format("Adapter folder: adds its share and its memory; {}: without (the "
                               "default)",
                               kNoAdapter))
      ->type_name(fmt::format("DIR|{}", kNoAdapter))
      ->check(not_empty(fmt::format("name a folder; --adapter {} does without", kNoAdapter)));
  command
      ->add_option("--ctx", args->ctx, "Tokens to foretell memory for (default: the model's limit)")
      ->transform(whole_number(1, kMaxTokens));
  add_dtype_option(*command, args->dtype);
  add_kv_type_option(*command, args->kv_type);
  command->add_flag("--tensors", args->tensors, "List every tensor");
  command->add_flag("--json", args->json, "Print one JSON object, tensors included");
  command->callback([args] { run(*args); });
}

}  // namespace chunkllm::cli
