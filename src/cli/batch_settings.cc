#include "cli/batch_settings.h"

#include <span>

#include "base/json.h"
#include "base/mapped_file.h"
#include "base/sha256.h"
#include "model/checkpoint.h"

namespace chunkllm::cli {
namespace {

constexpr size_t kDigits = 16;  // of a digest; accidents need no more

std::string adapter_digest(const std::filesystem::path& folder) {
  Sha256 hash;
  for (const char* name : {"adapter_config.json", "adapter_model.safetensors"}) {
    const MappedFile file(folder / name);
    hash.update(std::as_bytes(file.bytes()));
  }
  return hash.hex_digest().substr(0, kDigits);
}

template <typename Value>
nlohmann::ordered_json or_default(const std::optional<Value>& value) {
  return value ? nlohmann::ordered_json(*value) : nlohmann::ordered_json("default");
}

}  // namespace

nlohmann::ordered_json batch_settings(const CompletionArgs& args, const Completer& completer) {
  const Engine& engine = completer.engine;
  const SamplingOptions& sampling = args.generate.sampling;
  nlohmann::ordered_json json;
  json["model digest"] =
      Checkpoint(args.engine.model, engine.config()).sample_digest().substr(0, kDigits);
  json["adapter digest"] =
      args.engine.adapter.empty() ? "none" : adapter_digest(args.engine.adapter);
  json["end tokens"] = engine.eos_ids();
  json["--dtype"] = engine.precision().products == ProductType::kBf16 ? "bf16"
                    : engine.precision() == kF32Int8DecodePrecision   ? "auto"
                                                                      : "f32";
  json["--kv-type"] = kv_type_name(completer.session.kv_type);
  json["--policy"] = completer.auto_policy ? "auto" : policy_name(completer.session.policy);
  json["--kv-budget"] = or_default(args.selection.kv_budget);
  json["--kv-budget-min"] = or_default(args.selection.kv_budget_min);
  json["--top-k-chunks"] = or_default(args.selection.top_k_chunks);
  json["--window"] = or_default(args.selection.window);
  json["--sink"] = or_default(args.selection.sink);
  json["--refresh"] = args.selection.refresh;
  json["--prefill"] = args.selection.prefill;
  json["--ctx"] = args.ctx;
  json["--max-tokens"] = args.generate.max_tokens;
  json["--stop"] = args.generate.stops;
  json["--ignore-eos"] = args.ignore_eos;
  json["--temperature"] = sampling.temperature;
  json["--top-p"] = sampling.top_p;
  json["--top-k"] = sampling.top_k;
  json["--min-p"] = sampling.min_p;
  json["--repeat-penalty"] = sampling.repeat_penalty;
  json["--repeat-last-n"] = sampling.repeat_last_n;
  json["--seed"] = sampling.seed;
  return json;
}

std::string settings_difference(const nlohmann::json& before, const nlohmann::ordered_json& now) {
  std::string text;
  const auto shown = [](const nlohmann::json& value) {
    constexpr size_t kMaxShown = 40;
    const std::string all = value.dump(-1, ' ', true, nlohmann::json::error_handler_t::replace);
    return all.size() > kMaxShown ? all.substr(0, kMaxShown) + "..." : all;
  };
  for (const auto& [name, value] : now.items()) {
    const nlohmann::json old = before.value(name, nlohmann::json());
    if (old == nlohmann::json(value)) continue;
    text += fmt::format("{}{} {}, now {}", text.empty() ? "" : "; ", name, shown(old),
                        shown(nlohmann::json(value)));
  }
  return text;
}

std::string prompt_digest(const Prompt& prompt) {
  Sha256 hash;
  hash.update(std::as_bytes(std::span(prompt.ids)));
  hash.update(std::as_bytes(std::span("/", 1)));
  hash.update(std::as_bytes(std::span(prompt.ends)));
  for (const Range& answer : prompt.answers) {
    const int64_t ends[] = {answer.begin, answer.end};
    hash.update(std::as_bytes(std::span(ends)));
  }
  return hash.hex_digest().substr(0, kDigits);
}

}  // namespace chunkllm::cli
