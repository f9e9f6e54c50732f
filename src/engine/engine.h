// A model ready to run: weights, tokenizer, chat template and adapters, loaded from their files.
#pragma once

#include <array>
#include <filesystem>
#include <optional>
#include <string>
#include <vector>

#include "base/enum_names.h"
#include "model/weights.h"
#include "select/chunk/adapter.h"
#include "text/chat/chat_template.h"
#include "text/tokenizer/tokenizer.h"

namespace chunkllm {

enum class DtypeChoice { kAuto, kF32, kBf16 };
template <>
inline constexpr auto kEnumNames<DtypeChoice> = std::to_array<EnumName<DtypeChoice>>(
    {{DtypeChoice::kAuto, "auto"}, {DtypeChoice::kBf16, "bf16"}, {DtypeChoice::kF32, "f32"}});

struct EngineOptions {
  std::filesystem::path model;                       // Hugging Face folder or GGUF file
  std::vector<std::filesystem::path> adapters = {};  // folders, at most one of each kind
  DtypeChoice dtype = DtypeChoice::kAuto;  // kAuto: bf16 where the processor multiplies it, else
                                           // float32 with decode in int8
  PackedFolder packed_copies = {};         // of quantised weights; without a path there are none
};

// Owns what it loads. No one may change it while a session uses it.
class Engine {
 public:
  // Reads configs, tokenizer and adapters, which is quick; weights come with load_weights(). Throws
  // Error; (kInvalidArgument) for two adapters of a kind.
  explicit Engine(const EngineOptions& options);

  // Reads and packs the weights, or takes the copy that is kept of them, and checks that the
  // adapters belong to them. Throws Error.
  void load_weights();
  // Keeps a copy for the next time, if options and size ask for one and there is none; whether it
  // did. Throws Error (kIo, kMemory) if it cannot be kept.
  bool keep_packed_copy();

  // Takes the adapter in `folder` in place of that of its kind, before load_weights() or after.
  // Throws Error as load_adapter() does, (kData) if it was made for another model; nothing has
  // changed then.
  void open_adapter(const std::filesystem::path& folder);

  // Takes an adapter that lies in no folder in place of that of its kind, or of that which it
  // stands for; only after load_weights(). Throws Error (kData) if it was made for another model.
  void use_adapter(Adapter adapter);
  void use_adapter(Adapter adapter, AdapterKind stands_for);

  const EngineOptions& options() const { return options_; }
  Precision precision() const { return precision_; }
  const ModelConfig& config() const { return config_; }
  // Bytes of the weights, loaded or not. Throws Error if they cannot be read.
  int64_t weights_bytes() const;
  // ModelWeights::fingerprint(), for which norms alone are read. Throws Error if they cannot be.
  std::string fingerprint() const;
  bool has_weights() const { return weights_.has_value(); }
  // Only after load_weights().
  const ModelWeights& weights() const { return *weights_; }
  // Valid until another adapter is taken.
  AdapterSet adapters() const;
  // Where the adapter of that kind was read from; empty if there is none, or it lies in no folder.
  const std::filesystem::path& adapter_folder(AdapterKind kind) const;
  bool has_tokenizer() const { return tokenizer_.has_value(); }
  // Throws Error (kData) if the model has no tokenizer, (kUnsupported) if it has an older form.
  const Tokenizer& tokenizer() const;
  // The model's own. Throws Error (kUnsupported) if it has none, (kData) if it is no template.
  ChatTemplate chat_template() const;
  // The texts of special tokens, as chat templates know them.
  SpecialTokens special_tokens() const;
  // The tokenizer's special tokens; empty without one.
  std::vector<int32_t> special_ids() const;
  // What chunks may be cut by (select/chunk/token_marks.h), by token id; empty without a tokenizer.
  const std::vector<uint8_t>& token_marks() const { return token_marks_; }
  // Tokens that end an answer: the model's, or else the tokenizer's.
  std::vector<int32_t> eos_ids() const;

 private:
  struct LoadedAdapter {
    Adapter adapter;
    std::filesystem::path folder;
  };
  std::optional<LoadedAdapter>& slot(AdapterKind kind);

  EngineOptions options_;
  Precision precision_;
  ModelConfig config_;
  std::optional<Tokenizer> tokenizer_;
  std::vector<uint8_t> token_marks_;
  std::optional<LoadedAdapter> sentence_adapter_;
  std::optional<LoadedAdapter> fixed_adapter_;
  std::optional<ModelWeights> weights_;
};

// The precision of the products that a choice means on this machine. Throws Error
// (kInvalidArgument) for kBf16 without native products.
Precision resolve_precision(DtypeChoice choice);
// The choice that a precision comes from, as --dtype names it and as files keep it: "bf16", "f32",
// "auto" for float32 with int8 products in decoding.
std::string_view precision_name(Precision precision);

}  // namespace chunkllm
