#include "engine/engine.h"

#include "base/error.h"
#include "kernels/isa.h"

namespace chunkllm {

ComputeType resolve_compute_type(DtypeChoice choice) {
  if (choice == DtypeChoice::kF32) return ComputeType::kF32;
  if (bf16_products_available()) return ComputeType::kBf16;
  if (choice == DtypeChoice::kBf16) {
    fail(ErrorCode::kInvalidArgument,
         "--dtype bf16 needs a processor with avx512_bf16, and {} is in use; try --dtype f32",
         isa_name(active_isa()));
  }
  return ComputeType::kF32;
}

Engine::Engine(const EngineOptions& options)
    : options_(options),
      compute_type_(resolve_compute_type(options.dtype)),
      config_(read_model_config(options.model)) {
  if (std::filesystem::exists(options.model / "tokenizer.json")) {
    tokenizer_ = Tokenizer::from_folder(options.model);
  }
  if (!options.adapter.empty()) adapter_ = load_adapter(options.adapter);
}

void Engine::load_weights() {
  weights_ = chunkllm::load_weights(options_.model, compute_type_);
  if (adapter_) check_adapter_fits(*adapter_, *weights_, options_.adapter);
}

void Engine::use_adapter(Adapter adapter) {
  check_adapter_fits(adapter, *weights_, "the adapter");
  adapter_ = std::move(adapter);
}

const Tokenizer& Engine::tokenizer() const {
  if (!tokenizer_) {
    fail(ErrorCode::kData, "{} has no tokenizer.json; copy the one of the model there",
         options_.model.string());
  }
  return *tokenizer_;
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
