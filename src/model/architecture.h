// The families of decoder-only Transformers that the engine runs. They share one forward pass; what
// a family has of its own stands in its file of families/ and nowhere else.
#pragma once

#include <string>
#include <string_view>

#include "base/json.h"
#include "formats/gguf.h"
#include "model/config.h"

namespace chunkllm {

// Hugging Face's names of the norms of a layer; null: the family has none at that place.
struct LayerNorms {
  const char* before_attention = "input_layernorm";
  const char* after_attention = nullptr;  // of what attention adds to the stream
  const char* before_ffn = "post_attention_layernorm";
  const char* after_ffn = nullptr;
};

struct Architecture {
  const char* model_type;         // as config.json spells it
  const char* wrapper = nullptr;  // of a config.json that holds this family's in text_config
  const char* gguf;               // general.architecture of GGUF files
  // Fields that config.json may leave out and their values then: a JSON object.
  const char* defaults = "{}";
  const char* activation_key = "hidden_act";
  // config.json's field of the rotary base of layers that slide, where it is one of their own;
  // rope_parameters may then hold an object for each kind of layer.
  const char* sliding_theta = nullptr;
  bool own_query_scale = false;  // query_pre_attn_scalar, or attention.scale in GGUF files
  LayerNorms norms = {};
  float norm_offset = 0.0f;  // checkpoints hold norms less this; GGUF files hold them as applied
  // GGUF files have the two halves of each head of queries and keys interleaved, since ggml rotates
  // neighbouring numbers for this architecture and not, as Hugging Face does, the halves.
  bool gguf_interleaves = false;
  // Fills in what is the family's own: biases, norms of queries and keys, layers that slide. Throws
  // Error (kUnsupported) naming what the engine cannot do. `where` names the file.
  void (*configure)(const JsonFields& fields, const std::string& where, ModelConfig& config);
  // Adds to the fields of config.json what the metadata of a GGUF file under `prefix` say beyond
  // what all families have, or what they leave unsaid; null: nothing.
  void (*read_gguf)(const GgufFile& file, const std::string& prefix,
                    nlohmann::json& fields) = nullptr;
  // The same, written. Returns what other programs would not read from the file, in a line, or "".
  std::string (*write_gguf)(const ModelConfig& config, const std::string& prefix,
                            GgufMetadata& metadata) = nullptr;
};

// Throw Error (kUnsupported) naming `model_type`, or a GGUF file's `architecture`, and those that
// are supported. A config.json's model_type may be that of a wrapper.
const Architecture& find_architecture(std::string_view model_type, const std::string& where);
const Architecture& find_gguf_architecture(std::string_view architecture, const std::string& where);

// Reads which layers slide and their window: layer_types, or sliding_window_pattern (every such
// layer attends to everything), or max_window_layers (those from there on slide), or all of them;
// none where sliding_window is null, or where the window holds every position and nothing else sets
// these layers apart. Throws Error: kUnsupported for another type of layer, kData.
void read_sliding_layers(const JsonFields& fields, const std::string& where, ModelConfig& config);

// Throws Error (kUnsupported) if config.json names a window that this family does not have.
void refuse_sliding_window(const JsonFields& fields, const std::string& where,
                           const ModelConfig& config);

}  // namespace chunkllm
