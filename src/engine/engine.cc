#include "engine/engine.h"

#include "base/error.h"
#include "engine/gguf_tokenizer.h"
#include "formats/gguf.h"
#include "kernels/machine/isa.h"
#include "select/chunk/token_marks.h"

namespace chunkllm {

Precision resolve_precision(DtypeChoice choice) {
  if (choice == DtypeChoice::kF32) return kF32Precision;
  if (bf16_products_available()) return kBf16Precision;
  if (choice == DtypeChoice::kBf16) {
    fail(ErrorCode::kInvalidArgument,
         "--dtype bf16 needs a processor with avx512_bf16, and {} is in use; try --dtype f32",
         active_isa());
  }
  return kInt8Precision;
}

std::string_view precision_name(Precision precision) {
  if (precision.products == ProductType::kBf16) return "bf16";
  return precision == kInt8Precision ? "auto" : "f32";
}

namespace {

std::optional<Tokenizer> open_tokenizer(const std::filesystem::path& model) {
  if (is_gguf_file(model)) {
    const auto vocabulary = gguf_vocabulary(GgufFile(model));
    return vocabulary ? std::optional(Tokenizer::from_gguf(*vocabulary)) : std::nullopt;
  }
  if (!std::filesystem::exists(model / "tokenizer.json")) return std::nullopt;
  return Tokenizer::from_folder(model);
}

std::vector<uint8_t> marks_of_tokens(const std::optional<Tokenizer>& tokenizer) {
  std::vector<uint8_t> marks;
  if (!tokenizer) return marks;
  for (int32_t id = 0; id < tokenizer->n_vocab(); ++id) {
    const bool has_text = tokenizer->has_token(id) && !tokenizer->is_special(id);
    marks.push_back(has_text ? marks_of_token(tokenizer->token_bytes(id)) : uint8_t{0});
  }
  return marks;
}

}  // namespace

Engine::Engine(const EngineOptions& options)
    : options_(options),
      precision_(resolve_precision(options.dtype)),
      config_(read_model_config(options.model)),
      tokenizer_(open_tokenizer(options.model)),
      token_marks_(marks_of_tokens(tokenizer_)) {
  for (const std::filesystem::path& folder : options.adapters) {
    Adapter adapter = load_adapter(folder);
    std::optional<LoadedAdapter>& of_kind = slot(adapter.config.kind());
    if (of_kind) {
      fail(ErrorCode::kInvalidArgument,
           "--adapter {} and {} both have {} chunks; give one of each kind",
           of_kind->folder.string(), folder.string(), enum_name(adapter.config.kind()));
    }
    of_kind = LoadedAdapter{std::move(adapter), folder};
  }
}

std::optional<Engine::LoadedAdapter>& Engine::slot(AdapterKind kind) {
  return kind == AdapterKind::kFixed ? fixed_adapter_ : sentence_adapter_;
}

void Engine::load_weights() {
  weights_ = chunkllm::load_weights(options_.model, precision_, options_.packed_copies);
  config_.tied_embeddings = weights_->config.tied_embeddings;
  for (const auto* loaded : {&sentence_adapter_, &fixed_adapter_}) {
    if (*loaded) check_adapter_fits((*loaded)->adapter, *weights_, (*loaded)->folder);
  }
}

bool Engine::keep_packed_copy() { return weights_->copy && weights_->copy->save(); }

int64_t Engine::weights_bytes() const {
  if (weights_) return weights_->packed_bytes();
  return packed_weights_bytes(Checkpoint(options_.model, config_), config_, precision_);
}

std::string Engine::fingerprint() const {
  if (weights_) return weights_->fingerprint();
  return checkpoint_fingerprint(Checkpoint(options_.model, config_), config_);
}

void Engine::open_adapter(const std::filesystem::path& folder) {
  Adapter adapter = load_adapter(folder);
  check_adapter_fits(adapter, config_, fingerprint(), folder);
  const AdapterKind kind = adapter.config.kind();
  slot(kind) = LoadedAdapter{std::move(adapter), folder};
}

void Engine::use_adapter(Adapter adapter) {
  const AdapterKind kind = adapter.config.kind();
  use_adapter(std::move(adapter), kind);
}

void Engine::use_adapter(Adapter adapter, AdapterKind stands_for) {
  check_adapter_fits(adapter, *weights_, "the adapter");
  slot(stands_for) = LoadedAdapter{std::move(adapter), {}};
}

AdapterSet Engine::adapters() const {
  return {sentence_adapter_ ? &sentence_adapter_->adapter : nullptr,
          fixed_adapter_ ? &fixed_adapter_->adapter : nullptr};
}

const std::filesystem::path& Engine::adapter_folder(AdapterKind kind) const {
  static const std::filesystem::path kNone;
  const auto& loaded = kind == AdapterKind::kFixed ? fixed_adapter_ : sentence_adapter_;
  return loaded ? loaded->folder : kNone;
}

const Tokenizer& Engine::tokenizer() const {
  if (!tokenizer_) {
    const bool is_folder = std::filesystem::is_directory(options_.model);
    if (std::filesystem::exists(options_.model / "vocab.json") ||
        std::filesystem::exists(options_.model / "tokenizer.model")) {
      fail(
          ErrorCode::kUnsupported,
          "{} has its tokenizer in an older form and no tokenizer.json, which transformers writes: "
          "AutoTokenizer.from_pretrained(DIR).save_pretrained(DIR)",
          options_.model.string());
    }
    fail(ErrorCode::kData, "{} has no {}", options_.model.string(),
         is_folder ? "tokenizer.json; copy the one of the model there"
                   : "vocabulary; convert the model again, with its tokenizer");
  }
  return *tokenizer_;
}

ChatTemplate Engine::chat_template() const {
  const std::filesystem::path& model = options_.model;
  if (!is_gguf_file(model)) return ChatTemplate::from_folder(model);
  return ChatTemplate::from_text(gguf_chat_template(GgufFile(model)), model.string(),
                                 special_tokens());
}

SpecialTokens Engine::special_tokens() const {
  if (!is_gguf_file(options_.model)) return read_special_tokens(options_.model);
  SpecialTokens tokens;
  if (!tokenizer_) return tokens;
  const auto add = [&](const char* name, std::optional<int32_t> id) {
    if (id) tokens[name] = tokenizer_->token_bytes(*id);
  };
  add("bos_token", tokenizer_->bos_id());
  add("eos_token", tokenizer_->eos_id());
  return tokens;
}

std::vector<int32_t> Engine::special_ids() const {
  return tokenizer_ ? tokenizer_->special_ids() : std::vector<int32_t>{};
}

std::vector<int32_t> Engine::eos_ids() const {
  std::vector<int32_t> ids = config_.eos_ids;
  if (ids.empty() && tokenizer_ && tokenizer_->eos_id()) ids.push_back(*tokenizer_->eos_id());
  return ids;
}

}  // namespace chunkllm
