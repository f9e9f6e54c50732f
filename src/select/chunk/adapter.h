// The trained parts: a Chunk Adapter and, in each selecting layer, a QK Adapter (arXiv 2510.02361,
// section 3), with the folder they are kept in.
#pragma once

#include <algorithm>
#include <array>
#include <cstdint>
#include <filesystem>
#include <string>
#include <string_view>
#include <vector>

#include "base/enum_names.h"
#include "formats/safetensors.h"
#include "model/weights.h"

namespace chunkllm {

// How the first layer attends, whose output the Chunk Adapter reads. kBackbone: it slides over a
// window of its own, and stays as it is.
enum class FirstLayerKind { kGrid, kWindow, kDense, kBackbone };
template <>
inline constexpr auto kEnumNames<FirstLayerKind> =
    std::to_array<EnumName<FirstLayerKind>>({{FirstLayerKind::kGrid, "grid"},
                                             {FirstLayerKind::kWindow, "window"},
                                             {FirstLayerKind::kDense, "dense"},
                                             {FirstLayerKind::kBackbone, "backbone"}});

// What stands for a chunk: k^ of its boundary token, or the mean over its tokens.
enum class ChunkKey { kBoundary, kMean };
template <>
inline constexpr auto kEnumNames<ChunkKey> = std::to_array<EnumName<ChunkKey>>(
    {{ChunkKey::kBoundary, "boundary"}, {ChunkKey::kMean, "mean"}});

// What an adapter was trained to choose among: chunks that end where sentences and lines do, or
// after a fixed number of tokens.
enum class AdapterKind { kSentence, kFixed };
template <>
inline constexpr auto kEnumNames<AdapterKind> = std::to_array<EnumName<AdapterKind>>(
    {{AdapterKind::kSentence, "sentence"}, {AdapterKind::kFixed, "fixed"}});

inline constexpr int64_t kMaxSelectionHeads = 64;
inline constexpr double kLeastShare = 0.1;                      // of a layer in the mean budget
inline constexpr int64_t kMostChunkTokens = 4096;               // of a chunk, in a grid too
inline constexpr int64_t kMostWindowTokens = int64_t{1} << 20;  // of sink and windows

// The most tokens of a grid chunk, or of the first layer's window.
int64_t most_first_layer_tokens(FirstLayerKind kind);

struct AdapterConfig {
  std::string model_type;
  int64_t n_layers = 0;
  int64_t d_model = 0;
  std::string fingerprint;  // ModelWeights::fingerprint() of the backbone
  // Each scores chunks by itself, with its own components of q^ and k^; their softmaxes are
  // averaged.
  int64_t selection_heads = 1;
  int64_t adapter_dim = 0;  // of each head
  // Whether a head's last component of q^ weighs distance (distance.h) instead of a component of
  // keys, whose last is zero.
  bool distance_term = false;
  ChunkKey chunk_key = ChunkKey::kBoundary;  // of all layers but the first, whose key is the mean
  int64_t fixed_chunk = 0;                   // tokens a chunk, or 0: chunks are sentences
  float alpha = 0.5f;                        // boundary threshold of p
  int64_t min_chunk = 1;                     // tokens before which predictions end no chunk
  int64_t max_chunk = 128;                   // tokens after which a chunk is ended by force
  int64_t sink = 4;                          // tokens
  int64_t window = 512;                      // tokens
  FirstLayerKind first_layer = FirstLayerKind::kGrid;
  int64_t first_layer_tokens = 32;  // of a grid chunk, or of the window
  // Layers that slide over a window of their own and never select, ascending.
  std::vector<int64_t> backbone_layers;
  // Rows of each layer for each row of the budget, [n_layers]: mean 1 over the layers that select,
  // 0 in the others. Empty: the same in all.
  std::vector<double> layer_shares;
  std::string training = "{}";  // data, steps, target, losses: a JSON object's text

  // Defaults for a backbone.
  static AdapterConfig for_model(const ModelWeights& weights);

  AdapterKind kind() const {
    return fixed_chunk > 0 ? AdapterKind::kFixed : AdapterKind::kSentence;
  }
  // Components of q^ and k^.
  int64_t q_dim() const { return selection_heads * adapter_dim; }
  // Whether the layer selects with a QK Adapter.
  bool selects(int64_t layer) const {
    if (layer == 0) return first_layer == FirstLayerKind::kGrid;
    return !std::ranges::binary_search(backbone_layers, layer);
  }
  int64_t n_selecting() const;
  // Whether `first_layer_tokens` means anything.
  bool has_first_layer_tokens() const {
    return first_layer == FirstLayerKind::kGrid || first_layer == FirstLayerKind::kWindow;
  }
  // What stands for the chunks of a layer.
  ChunkKey key_of(int64_t layer) const { return layer == 0 ? ChunkKey::kMean : chunk_key; }
};

// q^ = q x and k^ = k x for the layer's normalised input x, without rotary embedding.
struct QkAdapter {
  std::vector<float>
      q;  // [selection_heads * adapter_dim, d_model]; empty where nothing is selected
  std::vector<float> k;  // the same
};

struct Adapter {
  AdapterConfig config;
  std::vector<float> boundary_weight;  // [d_model]
  float boundary_bias = 0.0f;
  std::vector<QkAdapter> layers;  // [n_layers]

  int64_t n_parameters() const;
  int64_t size_bytes() const { return n_parameters() * 4; }
};

// The adapters at hand, of each kind the one that serves or null. Views.
struct AdapterSet {
  const Adapter* sentence = nullptr;
  const Adapter* fixed = nullptr;

  const Adapter* of(AdapterKind kind) const {
    return kind == AdapterKind::kFixed ? fixed : sentence;
  }
  bool empty() const { return sentence == nullptr && fixed == nullptr; }

  // That one alone, as its kind; nothing if it is null.
  static AdapterSet only(const Adapter* adapter) {
    if (adapter == nullptr) return {};
    const bool is_fixed = adapter->config.kind() == AdapterKind::kFixed;
    return {is_fixed ? nullptr : adapter, is_fixed ? adapter : nullptr};
  }
};

// SHA-256 over the adapter's numbers and what selections by it depend on, but for `sink`, `window`
// and `min_chunk`, which are settings.
std::string adapter_digest(const Adapter& adapter);

// Reads adapter_config.json and adapter_model.safetensors from `folder`. Throws Error: kIo, kData
// (missing or wrong fields, shapes, values that are not finite), kUnsupported (newer version).
Adapter load_adapter(const std::filesystem::path& folder);

// Its adapter_model.safetensors, mapped. Throws Error as SafetensorsFile does.
SafetensorsFile open_adapter_tensors(const std::filesystem::path& folder);

// Of its two files together; 0 for what cannot be looked at.
int64_t adapter_file_bytes(const std::filesystem::path& folder);

// Whether it is the name of one of the two files of an adapter.
bool is_adapter_file(std::string_view name);

// Whether the folder holds an adapter, sound or not.
bool has_adapter(const std::filesystem::path& folder);

// What tells whether an adapter is worth loading.
struct AdapterHead {
  std::string fingerprint;  // of the backbone that it names
  AdapterKind kind = AdapterKind::kSentence;
};
// Reads nothing but adapter_config.json. Throws Error (kIo, kData).
AdapterHead read_adapter_head(const std::filesystem::path& folder);

// Throws Error (kData) that says what differs if the adapter was trained on another backbone.
// `fingerprint` is ModelWeights::fingerprint().
void check_adapter_fits(const Adapter& adapter, const ModelConfig& model,
                        const std::string& fingerprint,
                        const std::filesystem::path& adapter_folder);
void check_adapter_fits(const Adapter& adapter, const ModelWeights& weights,
                        const std::filesystem::path& adapter_folder);

// Writes both files into `folder`, each atomically, the config last; QK Adapters rounded to bf16,
// the Chunk Adapter in float32. Throws Error (kIo).
void save_adapter(const Adapter& adapter, const std::filesystem::path& folder);

}  // namespace chunkllm
