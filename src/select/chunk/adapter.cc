#include "select/chunk/adapter.h"

#include <fmt/ranges.h>

#include <cmath>
#include <deque>
#include <iterator>
#include <span>

#include "base/atomic_file.h"
#include "base/bf16.h"
#include "base/error.h"
#include "base/json.h"
#include "base/sha256.h"
#include "select/settings.h"

namespace chunkllm {
namespace {

constexpr int64_t kVersion = 2;
// Of folders without a distance term, which older programs read.
constexpr int64_t kVersionWithoutDistance = 1;
constexpr const char* kConfigFile = "adapter_config.json";
constexpr const char* kTensorFile = "adapter_model.safetensors";
constexpr int64_t kMaxConfigBytes = int64_t{16} << 20;
constexpr std::string_view kTrainAgain =
    "the adapter is damaged; copy it again from where it was made, or train again";

void read_first_layer(const JsonFields& fields, const std::string& where, AdapterConfig& config) {
  const JsonFields first(fields.at("first_layer"), where + ", first_layer", kTrainAgain);
  const std::string kind = first.string("kind");
  config.first_layer =
      parse_enum<FirstLayerKind>(where + ": first_layer.kind", kind, ErrorCode::kData);
  if (config.has_first_layer_tokens()) {
    config.first_layer_tokens =
        first.integer(kind.c_str(), 1, most_first_layer_tokens(config.first_layer));
  }
}

void read_chunks(const JsonFields& fields, const std::string& where, AdapterConfig& config) {
  const nlohmann::json& chunks = fields.at("chunks");
  if (chunks.is_string() && chunks == "sentence") return;
  if (chunks.is_object()) {
    config.fixed_chunk =
        JsonFields(chunks, where + ", chunks", kTrainAgain).integer("fixed", 1, config.max_chunk);
    return;
  }
  fail(ErrorCode::kData, "{}: chunks must be \"sentence\" or {{\"fixed\": N}}; {}", where,
       kTrainAgain);
}

void read_backbone_layers(const JsonFields& fields, const std::string& where,
                          AdapterConfig& config) {
  if (!fields.has("backbone_layers")) return;
  const nlohmann::json& layers = fields.at("backbone_layers");
  int64_t next = 0;
  for (const nlohmann::json& layer : layers) {
    if (!layers.is_array() || !layer.is_number_unsigned() || layer < next ||
        layer >= config.n_layers) {
      fail(ErrorCode::kData, "{}: backbone_layers must be an ascending list of layers below {}; {}",
           where, config.n_layers, kTrainAgain);
    }
    config.backbone_layers.push_back(layer.get<int64_t>());
    next = layer.get<int64_t>() + 1;
  }
}

void read_layer_shares(const JsonFields& fields, const std::string& where, AdapterConfig& config) {
  if (!fields.has("layer_shares")) return;
  const nlohmann::json& shares = fields.at("layer_shares");
  const auto refuse = [&](std::string_view what) {
    fail(ErrorCode::kData, "{}: layer_shares must be {}; {}", where, what, kTrainAgain);
  };
  if (!shares.is_array() || std::ssize(shares) != config.n_layers) {
    refuse(fmt::format("a list of {} numbers", config.n_layers));
  }
  double sum = 0;
  for (int64_t layer = 0; layer < config.n_layers; ++layer) {
    const nlohmann::json& value = shares[static_cast<size_t>(layer)];
    const double share = value.is_number() ? value.get<double>() : -1;
    const auto n_selecting = static_cast<double>(config.n_selecting());
    if (config.selects(layer) ? !(share >= kLeastShare && share <= n_selecting) : share != 0) {
      refuse(
          fmt::format("from {} to {} in layers that select and 0 in others; that of layer {} is "
                      "not",
                      kLeastShare, n_selecting, layer));
    }
    config.layer_shares.push_back(share);
    sum += share;
  }
  if (std::abs(sum - static_cast<double>(config.n_selecting())) > 0.01) {
    refuse("1 on the average of the layers that select");
  }
}

// What the training wrote down a second time.
void check_training(const AdapterConfig& config, const nlohmann::json& training,
                    const std::string& where) {
  const auto dim = training.is_object() ? training.find("adapter_dim") : training.end();
  if (!training.is_object() || dim == training.end() || *dim == config.adapter_dim) return;
  fail(ErrorCode::kData,
       "{}: adapter_dim is {} with {} selection_heads, and its training had {}; {}", where,
       config.adapter_dim, config.selection_heads, dim->is_number() ? dim->dump() : "no number",
       kTrainAgain);
}

AdapterConfig read_config(const std::filesystem::path& path) {
  const std::string where = path.string();
  const nlohmann::json json = read_json_file(path, kMaxConfigBytes, kTrainAgain);
  const JsonFields fields(json, where, kTrainAgain);
  if (fields.string("format") != "chunkllm") {
    fail(ErrorCode::kData, "{}: format is not \"chunkllm\"; this is no adapter of this program",
         where);
  }
  const int64_t version = fields.integer("version", 1, 1 << 30);
  if (version > kVersion) {
    fail(ErrorCode::kUnsupported,
         "{}: version {} is newer than this program's {}; update the program", where, version,
         kVersion);
  }
  AdapterConfig config;
  config.model_type = fields.string("model_type");
  config.n_layers = fields.integer("num_hidden_layers", 1, 4096);
  config.d_model = fields.integer("hidden_size", 1, int64_t{1} << 24);
  config.fingerprint = fields.string("fingerprint");
  config.adapter_dim = fields.integer("adapter_dim", 1, 65536);
  config.selection_heads = fields.integer("selection_heads", 1, kMaxSelectionHeads);
  config.chunk_key =
      parse_enum<ChunkKey>(where + ": chunk_key", fields.string("chunk_key"), ErrorCode::kData);
  config.distance_term = fields.boolean_or("distance_term", false);
  if (config.distance_term != (version >= kVersion)) {
    fail(ErrorCode::kData, "{}: version {} and distance_term {} do not go together; train again",
         where, version, config.distance_term);
  }
  if (config.distance_term && config.adapter_dim < 2) {
    fail(ErrorCode::kData, "{}: adapter_dim 1 leaves nothing beside the distance term; train again",
         where);
  }
  config.alpha = static_cast<float>(fields.number("alpha", 1e-6, 1.0 - 1e-6));
  config.max_chunk = fields.integer("max_chunk", 1, kMostChunkTokens);
  config.min_chunk = fields.integer_or("min_chunk", 1, config.max_chunk, config.min_chunk);
  read_chunks(fields, where, config);
  config.sink = fields.integer("sink", 0, kMostWindowTokens);
  config.window = fields.integer("window", 1, kMostWindowTokens);
  read_first_layer(fields, where, config);
  read_backbone_layers(fields, where, config);
  read_layer_shares(fields, where, config);
  if (fields.has("training")) {
    check_training(config, fields.at("training"), where);
    config.training = fields.at("training").dump();
  }
  return config;
}

nlohmann::ordered_json to_json(const AdapterConfig& config) {
  nlohmann::ordered_json json;
  json["format"] = "chunkllm";
  json["version"] = config.distance_term ? kVersion : kVersionWithoutDistance;
  json["model_type"] = config.model_type;
  json["num_hidden_layers"] = config.n_layers;
  json["hidden_size"] = config.d_model;
  json["fingerprint"] = config.fingerprint;
  json["adapter_dim"] = config.adapter_dim;
  json["selection_heads"] = config.selection_heads;
  if (config.distance_term) json["distance_term"] = true;
  json["chunk_key"] = enum_name(config.chunk_key);
  if (config.fixed_chunk > 0) {
    json["chunks"]["fixed"] = config.fixed_chunk;
  } else {
    json["chunks"] = "sentence";
  }
  json["alpha"] = config.alpha;
  json["min_chunk"] = config.min_chunk;
  json["max_chunk"] = config.max_chunk;
  json["sink"] = config.sink;
  json["window"] = config.window;
  const std::string kind(enum_name(config.first_layer));
  json["first_layer"]["kind"] = kind;
  if (config.has_first_layer_tokens()) {
    json["first_layer"][kind] = config.first_layer_tokens;
  }
  if (!config.backbone_layers.empty()) json["backbone_layers"] = config.backbone_layers;
  if (!config.layer_shares.empty()) json["layer_shares"] = config.layer_shares;
  json["training"] = nlohmann::ordered_json::parse(config.training);
  return json;
}

std::string layer_tensor(int64_t layer, const char* which) {
  return fmt::format("layers.{}.{}_adapter.weight", layer, which);
}

// A tensor as the config has it: two files that do not agree are damaged, whichever it is.
std::vector<float> read_matrix(const SafetensorsFile& file, const std::string& name,
                               const AdapterConfig& config, const std::filesystem::path& folder) {
  const std::vector<int64_t> shape{config.q_dim(), config.d_model};
  const TensorView* tensor = file.find(name);
  if (tensor == nullptr) {
    fail(ErrorCode::kData, "{}: {} is missing, and {} has {} layers; {}",
         (folder / kTensorFile).string(), name, kConfigFile, config.n_layers, kTrainAgain);
  }
  if (tensor->shape != shape) {
    fail(ErrorCode::kData,
         "{}: {} has the shape {}, and {} of {} heads of {} beside a hidden size of {} is expected "
         "by {}; {}",
         (folder / kTensorFile).string(), name, shape_text(tensor->shape), shape_text(shape),
         config.selection_heads, config.adapter_dim, config.d_model, kConfigFile, kTrainAgain);
  }
  return file.require_floats(name, shape);
}

// Whether the last row of each head is zero.
bool leaves_room_for_distance(const std::vector<float>& k, const AdapterConfig& config) {
  for (int64_t head = 1; head <= config.selection_heads; ++head) {
    const int64_t row = head * config.adapter_dim - 1;
    const auto values = std::span(k).subspan(static_cast<size_t>(row * config.d_model),
                                             static_cast<size_t>(config.d_model));
    if (!std::ranges::all_of(values, [](float v) { return v == 0; })) return false;
  }
  return true;
}

std::vector<int64_t> sliding_layers(const ModelConfig& model) {
  std::vector<int64_t> layers;
  for (int64_t i = 0; i < model.n_layers; ++i) {
    if (model.slides(i)) layers.push_back(i);
  }
  return layers;
}

}  // namespace

AdapterConfig AdapterConfig::for_model(const ModelWeights& weights) {
  AdapterConfig config;
  config.model_type = weights.config.model_type;
  config.n_layers = weights.config.n_layers;
  config.d_model = weights.config.d_model;
  config.fingerprint = weights.fingerprint();
  config.selection_heads = 2;
  config.adapter_dim = 32;
  config.chunk_key = ChunkKey::kMean;
  config.min_chunk = kDefaultMinChunk;
  config.window = kDefaultWindow;
  config.backbone_layers = sliding_layers(weights.config);
  if (weights.config.slides(0)) config.first_layer = FirstLayerKind::kBackbone;
  return config;
}

int64_t most_first_layer_tokens(FirstLayerKind kind) {
  return kind == FirstLayerKind::kGrid ? kMostChunkTokens : kMostWindowTokens;
}

int64_t AdapterConfig::n_selecting() const {
  int64_t n = 0;
  for (int64_t i = 0; i < n_layers; ++i) n += selects(i) ? 1 : 0;
  return n;
}

int64_t Adapter::n_parameters() const {
  int64_t n = static_cast<int64_t>(boundary_weight.size()) + 1;
  for (const QkAdapter& layer : layers) n += static_cast<int64_t>(layer.q.size() + layer.k.size());
  return n;
}

std::string adapter_digest(const Adapter& adapter) {
  const AdapterConfig& c = adapter.config;
  Sha256 hash;
  const std::string shape = fmt::format(
      "adapter_dim={} chunk_key={} fixed_chunk={} alpha={} max_chunk={} first_layer={}:{} "
      "bias={}\n",
      c.adapter_dim, enum_name(c.chunk_key), c.fixed_chunk, c.alpha, c.max_chunk,
      enum_name(c.first_layer), c.first_layer_tokens, adapter.boundary_bias);
  hash.update(std::as_bytes(std::span(shape)));
  if (c.selection_heads > 1) {
    const std::string heads = fmt::format("selection_heads={}\n", c.selection_heads);
    hash.update(std::as_bytes(std::span(heads)));
  }
  if (c.distance_term) hash.update(std::as_bytes(std::span(std::string_view("distance_term\n"))));
  hash.update(std::as_bytes(std::span(c.layer_shares)));
  hash.update(std::as_bytes(std::span(adapter.boundary_weight)));
  for (const QkAdapter& layer : adapter.layers) {
    hash.update(std::as_bytes(std::span(layer.q)));
    hash.update(std::as_bytes(std::span(layer.k)));
  }
  return hash.hex_digest();
}

Adapter load_adapter(const std::filesystem::path& folder) {
  Adapter adapter;
  adapter.config = read_config(folder / kConfigFile);
  const AdapterConfig& config = adapter.config;
  const SafetensorsFile file = open_adapter_tensors(folder);
  adapter.boundary_weight = file.require_floats("chunk_adapter.weight", {1, config.d_model});
  adapter.boundary_bias = file.require_floats("chunk_adapter.bias", {1})[0];
  adapter.layers.resize(static_cast<size_t>(config.n_layers));
  if (config.first_layer == FirstLayerKind::kBackbone && config.backbone_layers.empty()) {
    // Such a folder may leave it to its tensors to say which layers select.
    for (int64_t i = 0; i < config.n_layers; ++i) {
      if (file.find(layer_tensor(i, "q")) == nullptr) {
        adapter.config.backbone_layers.push_back(i);
      }
    }
  }
  for (int64_t i = 0; i < config.n_layers; ++i) {
    if (!config.selects(i)) continue;
    QkAdapter& layer = adapter.layers[static_cast<size_t>(i)];
    layer.q = read_matrix(file, layer_tensor(i, "q"), config, folder);
    layer.k = read_matrix(file, layer_tensor(i, "k"), config, folder);
    if (config.distance_term && !leaves_room_for_distance(layer.k, config)) {
      fail(ErrorCode::kData,
           "{}: the last row of each head in {} must be zero where distance_term is set; train "
           "again",
           (folder / kTensorFile).string(), layer_tensor(i, "k"));
    }
  }
  return adapter;
}

int64_t adapter_file_bytes(const std::filesystem::path& folder) {
  int64_t n_bytes = 0;
  for (const char* name : {kConfigFile, kTensorFile}) {
    std::error_code error;
    const uintmax_t size = std::filesystem::file_size(folder / name, error);
    if (!error) n_bytes += static_cast<int64_t>(size);
  }
  return n_bytes;
}

bool is_adapter_file(std::string_view name) { return name == kConfigFile || name == kTensorFile; }

SafetensorsFile open_adapter_tensors(const std::filesystem::path& folder) {
  return SafetensorsFile(folder / kTensorFile, kTrainAgain);
}

bool has_adapter(const std::filesystem::path& folder) {
  std::error_code error;
  return std::filesystem::exists(folder / kConfigFile, error);
}

AdapterHead read_adapter_head(const std::filesystem::path& folder) {
  const std::filesystem::path path = folder / kConfigFile;
  const nlohmann::json json = read_json_file(path, kMaxConfigBytes, kTrainAgain);
  AdapterHead head;
  head.fingerprint = JsonFields(json, path.string(), kTrainAgain).string("fingerprint");
  // What else is wrong with it load_adapter() says.
  const auto chunks = json.find("chunks");
  if (chunks != json.end() && chunks->is_object()) head.kind = AdapterKind::kFixed;
  return head;
}

void check_adapter_fits(const Adapter& adapter, const ModelWeights& weights,
                        const std::filesystem::path& adapter_folder) {
  check_adapter_fits(adapter, weights.config, weights.fingerprint(), adapter_folder);
}

void check_adapter_fits(const Adapter& adapter, const ModelConfig& model,
                        const std::string& fingerprint,
                        const std::filesystem::path& adapter_folder) {
  const auto differs = [&](const char* what, const auto& of_adapter, const auto& of_model) {
    if (of_adapter == of_model) return;
    if (adapter.config.fingerprint == fingerprint) {
      fail(ErrorCode::kData,
           "{}: its fingerprint is the model's, and its {} is {}, the model's {}; {}",
           (adapter_folder / kConfigFile).string(), what, of_adapter, of_model, kTrainAgain);
    }
    fail(ErrorCode::kData,
         "{}: the adapter belongs to another model: its {} is {}, the model's is {}; train "
         "adapters on "
         "this model",
         adapter_folder.string(), what, of_adapter, of_model);
  };
  differs("number of layers", adapter.config.n_layers, model.n_layers);
  differs("hidden size", adapter.config.d_model, model.d_model);
  differs("fingerprint", adapter.config.fingerprint, fingerprint);
  differs("list of layers that slide", adapter.config.backbone_layers, sliding_layers(model));
  if (model.slides(0) != (adapter.config.first_layer == FirstLayerKind::kBackbone)) {
    fail(ErrorCode::kData,
         "{}: first_layer.kind is {}, and the model's first layer {}; it must be backbone where "
         "that layer slides, and only there",
         adapter_folder.string(), enum_name(adapter.config.first_layer),
         model.slides(0) ? "slides" : "does not slide");
  }
}

void save_adapter(const Adapter& adapter, const std::filesystem::path& folder) {
  const AdapterConfig& config = adapter.config;
  std::vector<TensorToWrite> tensors;
  const auto add_floats = [&](std::string name, std::vector<int64_t> shape,
                              std::span<const float> values) {
    tensors.push_back({std::move(name), DType::kF32, std::move(shape), std::as_bytes(values)});
  };
  add_floats("chunk_adapter.weight", {1, config.d_model}, adapter.boundary_weight);
  add_floats("chunk_adapter.bias", {1}, {&adapter.boundary_bias, 1});
  std::deque<std::vector<Bf16>> rounded;  // what `tensors` refers to
  const auto add = [&](std::string name, const std::vector<float>& values) {
    std::ranges::transform(values, std::back_inserter(rounded.emplace_back()), to_bf16);
    tensors.push_back({std::move(name),
                       DType::kBf16,
                       {config.q_dim(), config.d_model},
                       std::as_bytes(std::span(rounded.back()))});
  };
  for (int64_t i = 0; i < config.n_layers; ++i) {
    const QkAdapter& layer = adapter.layers[static_cast<size_t>(i)];
    if (!config.selects(i)) continue;
    add(layer_tensor(i, "q"), layer.q);
    add(layer_tensor(i, "k"), layer.k);
  }
  write_safetensors(folder / kTensorFile, std::move(tensors), {{"format", "chunkllm"}});
  write_file_atomically(folder / kConfigFile, to_json(config).dump(2) + "\n");
}

}  // namespace chunkllm
