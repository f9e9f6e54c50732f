#include "model/gguf_names.h"

#include <array>
#include <vector>

namespace chunkllm {
namespace {

struct NamePair {
  std::string_view gguf;
  std::string_view hf;
};

constexpr std::array<NamePair, 3> kModelTensors{{
    {"token_embd", "model.embed_tokens"},
    {"output_norm", "model.norm"},
    {"output", "lm_head"},
}};

constexpr std::array<NamePair, 9> kLayerTensors{{
    {"attn_q", "self_attn.q_proj"},
    {"attn_k", "self_attn.k_proj"},
    {"attn_v", "self_attn.v_proj"},
    {"attn_q_norm", "self_attn.q_norm"},
    {"attn_k_norm", "self_attn.k_norm"},
    {"attn_output", "self_attn.o_proj"},
    {"ffn_gate", "mlp.gate_proj"},
    {"ffn_up", "mlp.up_proj"},
    {"ffn_down", "mlp.down_proj"},
}};

constexpr std::string_view kGgufLayers = "blk.";
constexpr std::string_view kHfLayers = "model.layers.";

// Those of a family's layers: the norms have names of its own.
std::vector<NamePair> layer_tensors(const Architecture& family) {
  std::vector<NamePair> pairs(kLayerTensors.begin(), kLayerTensors.end());
  const auto add = [&](std::string_view gguf, const char* hf) {
    if (hf != nullptr) pairs.push_back({gguf, hf});
  };
  add("attn_norm", family.norms.before_attention);
  add("post_attention_norm", family.norms.after_attention);
  add("ffn_norm", family.norms.before_ffn);
  add("post_ffw_norm", family.norms.after_ffn);
  return pairs;
}

// Translates "PREFIX N . MIDDLE .weight|.bias" and names outside layers.
std::optional<std::string> translate(const Architecture& family, std::string_view name,
                                     std::string_view NamePair::*from,
                                     std::string_view NamePair::*to, std::string_view from_layers,
                                     std::string_view to_layers) {
  const size_t dot = name.rfind('.');
  if (dot == std::string_view::npos) return std::nullopt;
  const std::string_view ending = name.substr(dot);
  if (ending != ".weight" && ending != ".bias") return std::nullopt;
  const std::string_view stem = name.substr(0, dot);
  for (const NamePair& pair : kModelTensors) {
    if (stem == pair.*from) return std::string(pair.*to) + std::string(ending);
  }
  if (!stem.starts_with(from_layers)) return std::nullopt;
  const std::string_view rest = stem.substr(from_layers.size());
  const size_t n_digits = rest.find_first_not_of("0123456789");
  if (n_digits == 0 || n_digits == std::string_view::npos || rest[n_digits] != '.') {
    return std::nullopt;
  }
  for (const NamePair& pair : layer_tensors(family)) {
    if (rest.substr(n_digits + 1) == pair.*from) {
      return std::string(to_layers) + std::string(rest.substr(0, n_digits + 1)) +
             std::string(pair.*to) + std::string(ending);
    }
  }
  return std::nullopt;
}

}  // namespace

std::optional<std::string> hf_tensor_name(const Architecture& family, std::string_view gguf_name) {
  return translate(family, gguf_name, &NamePair::gguf, &NamePair::hf, kGgufLayers, kHfLayers);
}

std::optional<std::string> gguf_tensor_name(const Architecture& family, std::string_view hf_name) {
  return translate(family, hf_name, &NamePair::hf, &NamePair::gguf, kHfLayers, kGgufLayers);
}

bool has_interleaved_rows(const Architecture& family, std::string_view hf_name) {
  return family.gguf_interleaves && (hf_name.find(".q_proj.") != std::string_view::npos ||
                                     hf_name.find(".k_proj.") != std::string_view::npos);
}

float folder_offset(const Architecture& family, std::string_view hf_name) {
  return hf_name.ends_with("norm.weight") ? family.norm_offset : 0.0f;
}

}  // namespace chunkllm
