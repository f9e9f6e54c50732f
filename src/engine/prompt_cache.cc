#include "engine/prompt_cache.h"

#include <algorithm>
#include <cstring>
#include <fstream>
#include <functional>
#include <set>

#include "base/error.h"
#include "base/json.h"
#include "engine/common_prefix.h"
#include "formats/checksum.h"
#include "formats/safetensors.h"

namespace chunkllm {
namespace {

using Json = nlohmann::ordered_json;
using Origin = Session::Origin;

constexpr const char* kStateKey = "chunkllm_prompt_cache";
constexpr int64_t kVersion = 2;  // 1 had other keys of chunks
constexpr int64_t kMaxTokens = int64_t{1} << 30;
constexpr const char* kMakeAnew = "make the cache anew";

DType dtype_of(KvType type) {
  switch (type) {
    case KvType::kF32:
      return DType::kF32;
    case KvType::kBf16:
      return DType::kBf16;
    case KvType::kF16:
      return DType::kF16;
    case KvType::kQ8_0:
      return DType::kU8;
  }
  fail(ErrorCode::kUnsupported, "a KV cache of this type cannot be saved; use --kv-type bf16");
}

// Of the tensors that hold one KV head's rows: those of q8_0 are bytes.
std::vector<int64_t> shape_of_rows(int64_t n_tokens, const ModelConfig& config, KvType type) {
  return {n_tokens, type == KvType::kQ8_0 ? kv_row_bytes(type, config.head_dim) : config.head_dim};
}

// All that keys, values and selections depend on besides the tokens, under the names of the options
// that set them.
Json settings_of(const Engine& engine, const SessionOptions& options) {
  Json json;
  json["model fingerprint"] = engine.weights().fingerprint();
  // The fingerprint is the same for all weights of a backbone.
  json["weights digest"] = engine.weights().checkpoint.sample_digest();
  json["--dtype"] = precision_name(engine.precision());
  json["--kv-type"] =
      options.kv_type == KvType::kQ8_0 ? "Q8_0" : dtype_name(dtype_of(options.kv_type));
  json["--policy"] = options.policy->name;
  const Adapter* adapter = adapter_for(*options.policy, engine.adapters());
  if (adapter != nullptr) json["adapter digest"] = adapter_digest(*adapter);
  const SelectionSettings selection = settings_with_defaults(options.selection, adapter);
  for (const SettingEntry& entry : setting_entries()) {
    if (!options.policy->reads(entry.setting)) continue;
    const nlohmann::json value = entry.get(selection);
    if (!value.is_null()) json[std::string(entry.flag)] = value;
  }
  return json;
}

void check_saved_settings(const std::string& where, const nlohmann::json& saved,
                          const Session& session) {
  const Adapter* adapter = adapter_for(*session.options().policy, session.engine().adapters());
  const SelectionSettings defaults = settings_with_defaults({}, adapter);
  const std::string difference =
      difference_with_settings(saved, settings_of(session.engine(), session.options()), defaults);
  if (difference.empty()) return;
  fail(ErrorCode::kData, "{}: the cache was saved with {}; use the same or make the cache anew",
       where, difference);
}

std::string rows_name(int64_t layer, bool values, int64_t head) {
  return fmt::format("layers.{}.{}.{}", layer, values ? "values" : "keys", head);
}

// Calls action(layer, values, head) for every block of rows.
template <typename Action>
void for_each_rows(const ModelConfig& config, const Action& action) {
  for (int64_t layer = 0; layer < config.n_layers; ++layer) {
    for (const bool values : {false, true}) {
      for (int64_t head = 0; head < config.n_kv_heads; ++head) action(layer, values, head);
    }
  }
}

class CacheFile {
 public:
  // Its state read; nothing is known yet of keys and values.
  explicit CacheFile(const std::filesystem::path& path)
      : where_(path.string()), file_(path, kMakeAnew) {
    const auto found = file_.metadata().find(kStateKey);
    if (found == file_.metadata().end()) {
      fail(ErrorCode::kData, "{} is no prompt cache; give a file that --save-cache wrote", where_);
    }
    const nlohmann::json outer = parse_json(found->second, where_, kMakeAnew);
    const JsonFields outer_fields(outer, where_);
    state_ = outer_fields.string("state");
    checksum_ = outer_fields.string("sha256");
    const nlohmann::json json = parse_json(state_, where_, kMakeAnew);
    const JsonFields fields(json, where_);
    const int64_t version = fields.integer("version", 1, kMaxTokens);
    if (version > kVersion) {
      fail(ErrorCode::kUnsupported,
           "{}: version {} is newer than this program's {}; update the program", where_, version,
           kVersion);
    }
    if (version < kVersion) {
      fail(ErrorCode::kUnsupported, "{}: version {} is of an earlier program; make the cache anew",
           where_, version);
    }
    n_tokens_ = fields.integer("n_tokens", 1, kMaxTokens);
    settings_ = fields.at("settings");
    if (!settings_.is_object()) fail(ErrorCode::kData, "{}: settings is no object", where_);
  }

  // The file as one that this session can use, its checksum right.
  CacheFile(const std::filesystem::path& path, const Session& session) : CacheFile(path) {
    check_saved_settings(where_, settings_, session);
    if (tensor_checksum(state_, file_) != checksum_) {
      fail(ErrorCode::kData, "{}: the checksum is not that of the content; make the cache anew",
           where_);
    }
  }

  const nlohmann::json& settings() const { return settings_; }

  std::vector<int32_t> tokens() const {
    return numbers<int32_t>("tokens", DType::kI32, {n_tokens_});
  }

  std::vector<Origin> origins() const {
    std::vector<Origin> origins;
    for (const uint8_t byte : numbers<uint8_t>("origins", DType::kU8, {n_tokens_})) {
      if (byte > static_cast<uint8_t>(Origin::kPromptEnd)) {
        fail(ErrorCode::kData, "{}: origins holds {}, more than 2; make the cache anew", where_,
             byte);
      }
      origins.push_back(static_cast<Origin>(byte));
    }
    return origins;
  }

  // All arrays that are neither the sequence's own nor keys and values; the policy knows what they
  // must be.
  PolicyState state(const Session& session) const {
    std::set<std::string, std::less<>> known{"tokens", "origins"};
    for_each_rows(session.engine().config(), [&](int64_t layer, bool values, int64_t head) {
      known.insert(rows_name(layer, values, head));
    });
    PolicyState state;
    for (const auto& [name, tensor] : file_.tensors()) {
      if (known.contains(name)) continue;
      const std::vector<int64_t> shape{tensor.n_elements()};
      if (tensor.dtype == DType::kI64) {
        state.positions[name] = numbers<int64_t>(name, DType::kI64, shape);
      } else {
        state.floats[name] = file_.require_floats(name, shape);
      }
    }
    return state;
  }

  // Throws before anything is stored.
  void check_rows(const Session& session) const {
    const ModelConfig& config = session.engine().config();
    const KvType type = session.options().kv_type;
    for_each_rows(config, [&](int64_t layer, bool values, int64_t head) {
      tensor(rows_name(layer, values, head), dtype_of(type),
             shape_of_rows(n_tokens_, config, type));
    });
  }

  void store_rows(const ModelConfig& config, KvCache& cache, int64_t n_tokens) const {
    const auto n_bytes = static_cast<size_t>(n_tokens * cache.row_bytes());
    for_each_rows(config, [&](int64_t layer, bool values, int64_t head) {
      const TensorView* rows = file_.find(rows_name(layer, values, head));
      cache.set_rows(layer, values, head, std::as_bytes(rows->bytes).first(n_bytes));
    });
  }

 private:
  const TensorView& tensor(const std::string& name, DType dtype,
                           const std::vector<int64_t>& shape) const {
    const TensorView& tensor = file_.require(name, shape);
    if (tensor.dtype != dtype) {
      fail(ErrorCode::kData, "{}: tensor {} is {}, expected {}; make the cache anew", where_, name,
           dtype_name(tensor.dtype), dtype_name(dtype));
    }
    return tensor;
  }

  template <typename T>
  std::vector<T> numbers(const std::string& name, DType dtype,
                         const std::vector<int64_t>& shape) const {
    const TensorView& view = tensor(name, dtype, shape);
    std::vector<T> values(static_cast<size_t>(view.n_elements()));
    if (!values.empty()) std::memcpy(values.data(), view.bytes.data(), view.bytes.size());
    return values;
  }

  std::string where_;
  SafetensorsFile file_;
  std::string state_;
  std::string checksum_;
  nlohmann::json settings_;
  int64_t n_tokens_ = 0;
};

// Fills the empty session with the first n_served tokens of the file, or a few less.
int64_t restore(
    const std::filesystem::path& path, const CacheFile& file,
    const std::function<int64_t(std::span<const int32_t>, std::span<const Origin>)>& n_served,
    Session& session) {
  const std::vector<int32_t> tokens = file.tokens();
  const std::vector<Origin> origins = file.origins();
  const PolicyState state = file.state(session);
  file.check_rows(session);
  try {
    return session.restore(tokens, origins, state, n_served(tokens, origins),
                           [&](KvCache& cache, int64_t n_tokens) {
                             file.store_rows(session.engine().config(), cache, n_tokens);
                           });
  } catch (const Error& error) {
    fail(error.code(), "{}: {}", path.string(), error.what());
  }
}

}  // namespace

bool begins_as_prompt_cache(const std::filesystem::path& path) {
  constexpr std::streamsize kMostHeaderBytes = 1 << 20;
  std::ifstream file(path, std::ios::binary);
  std::string begin(static_cast<size_t>(kMostHeaderBytes), '\0');
  file.read(begin.data(), kMostHeaderBytes);
  begin.resize(static_cast<size_t>(file.gcount()));
  return begin.find(kStateKey) != begin.npos;
}

void check_cache_target(const std::filesystem::path& path) {
  std::error_code error;
  if (!std::filesystem::is_regular_file(path, error)) return;
  if (std::filesystem::file_size(path, error) == 0) return;
  bool is_cache = false;
  try {
    is_cache = SafetensorsFile(path).metadata().contains(kStateKey);
  } catch (const Error&) {  // some other file
  }
  if (is_cache) return;
  fail(ErrorCode::kInvalidArgument,
       "{} exists and is no prompt cache; name another file, or remove it", path.string());
}

void save_prompt_cache(const std::filesystem::path& path, const Session& session) {
  const int64_t n_tokens = session.n_tokens();
  if (n_tokens == 0) {
    fail(ErrorCode::kInvalidArgument, "{}: there are no tokens to save; run a prompt first",
         path.string());
  }
  if (session.n_done() < n_tokens) {
    fail(ErrorCode::kInvalidArgument, "{}: {} of {} tokens did not run; finish the prompt first",
         path.string(), n_tokens - session.n_done(), n_tokens);
  }
  const ModelConfig& config = session.engine().config();
  const PolicyState state = session.policy().state();
  std::vector<TensorToWrite> tensors;
  std::vector<std::byte> space;  // for one tensor at a time
  const auto add = [&](std::string name, DType dtype, std::vector<int64_t> shape, auto values) {
    tensors.push_back({std::move(name), dtype, std::move(shape), std::as_bytes(values)});
  };
  add("tokens", DType::kI32, {n_tokens}, session.tokens());
  add("origins", DType::kU8, {n_tokens}, session.origins());
  for (const auto& [name, values] : state.positions) {
    add(name, DType::kI64, {std::ssize(values)}, std::span(values));
  }
  for (const auto& [name, values] : state.floats) {
    add(name, DType::kF32, {std::ssize(values)}, std::span(values));
  }
  for_each_rows(config, [&](int64_t layer, bool values, int64_t head) {
    tensors.push_back({.name = rows_name(layer, values, head),
                       .dtype = dtype_of(session.options().kv_type),
                       .shape = shape_of_rows(n_tokens, config, session.options().kv_type),
                       .bytes = {},
                       .read = [&session, &space, layer, values, head, n_tokens] {
                         return session.cache().rows(layer, values, head, n_tokens, space);
                       }});
  });

  Json json;
  json["version"] = kVersion;
  json["n_tokens"] = n_tokens;
  json["settings"] = settings_of(session.engine(), session.options());
  const std::string text = json.dump();
  Json outer;
  outer["state"] = text;
  outer["sha256"] = tensor_checksum(text, tensors);
  write_safetensors(path, std::move(tensors), {{kStateKey, outer.dump()}});
}

int64_t load_prompt_cache(const std::filesystem::path& path, const Prompt& prompt,
                          Session& session) {
  const auto n_served = [&](std::span<const int32_t> tokens, std::span<const Origin> origins) {
    return std::min(common_prefix(prompt, tokens, origins, std::ssize(tokens), session.options()),
                    prompt.n_tokens() - 1);
  };
  return restore(path, CacheFile(path, session), n_served, session);
}

int64_t load_prompt_cache(const std::filesystem::path& path, Session& session) {
  const auto all = [&](std::span<const int32_t> tokens, std::span<const Origin>) {
    session.check_fits(std::ssize(tokens));
    return std::ssize(tokens);
  };
  return restore(path, CacheFile(path, session), all, session);
}

PromptCacheEntry read_prompt_cache_entry(const std::filesystem::path& path) {
  const CacheFile file(path);
  return {file.settings().dump(), file.tokens(), file.origins()};
}

std::string cache_settings(const Engine& engine, const SessionOptions& options) {
  return nlohmann::json(settings_of(engine, options)).dump();
}

}  // namespace chunkllm
