#include "cli/batch_settings.h"

#include <span>

#include "base/sha256.h"
#include "base/threads.h"
#include "kernels/machine/isa.h"
#include "model/checkpoint.h"
#include "select/registry.h"

namespace chunkllm::cli {
namespace {

constexpr size_t kDigits = 16;  // of a digest; accidents need no more

}  // namespace

nlohmann::ordered_json batch_settings(const CompletionArgs& args, const Completer& completer) {
  const Engine& engine = completer.engine;
  const SamplingOptions& sampling = args.generate.sampling;
  nlohmann::ordered_json json;
  json["model digest"] =
      Checkpoint(args.engine.model, engine.config()).sample_digest().substr(0, kDigits);
  const Adapter* adapter = adapter_for(*completer.session.policy, engine.adapters());
  json["adapter digest"] =
      adapter == nullptr ? "none" : adapter_digest(*adapter).substr(0, kDigits);
  json["end tokens"] = engine.eos_ids();
  json["--dtype"] = precision_name(engine.precision());
  json["--kv-type"] = enum_name(completer.session.kv_type);
  // Last bits depend on these, and now and then a word.
  json["instruction set"] = active_isa();
  if (engine.precision().products == ProductType::kBf16 ||
      completer.session.kv_type != KvType::kF32) {
    json["--threads"] = current_threads();
  }
  json["--policy"] =
      completer.auto_policy ? std::string_view(kAutoPolicy) : completer.session.policy->name;
  const SelectionSettings selection = settings_with_defaults(args.selection.settings, adapter);
  for (const SettingEntry& entry : setting_entries()) {
    json[std::string(entry.flag)] = entry.get(selection);
  }
  json["--ctx"] = args.ctx;
  json["--max-tokens"] = args.generate.max_tokens;
  json["--stop"] = args.generate.stops;
  json["--ignore-eos"] = args.ignore_eos;
  json["--exact"] = args.exact;
  json["--temperature"] = sampling.temperature;
  json["--top-p"] = sampling.top_p;
  json["--top-k"] = sampling.top_k;
  json["--min-p"] = sampling.min_p;
  json["--repeat-penalty"] = sampling.repeat_penalty;
  json["--repeat-last-n"] = sampling.repeat_last_n;
  json["--seed"] = sampling.seed;
  return json;
}

std::string batch_difference(nlohmann::json before, nlohmann::ordered_json now) {
  constexpr const char* kCtx = "--ctx";  // 0 where nobody gave it
  if (before.value(kCtx, nlohmann::json()) == 0) before[kCtx] = "default";
  if (now[kCtx] == 0) now[kCtx] = "default";
  return difference_with_settings(before, now, SelectionSettings());
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
