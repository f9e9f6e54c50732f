#include "model/gguf_names.h"

#include <array>
#include <utility>

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

constexpr std::array<NamePair, 11> kLayerTensors{{
    {"attn_norm", "input_layernorm"},
    {"attn_q", "self_attn.q_proj"},
    {"attn_k", "self_attn.k_proj"},
    {"attn_v", "self_attn.v_proj"},
    {"attn_q_norm", "self_attn.q_norm"},
    {"attn_k_norm", "self_attn.k_norm"},
    {"attn_output", "self_attn.o_proj"},
    {"ffn_norm", "post_attention_layernorm"},
    {"ffn_gate", "mlp.gate_proj"},
    {"ffn_up", "mlp.up_proj"},
    {"ffn_down", "mlp.down_proj"},
}};

constexpr std::string_view kGgufLayers = "blk.";
constexpr std::string_view kHfLayers = "model.layers.";

constexpr std::pair<std::string_view, std::string_view> kArchitectures[] = {
    {"llama", "llama"}, {"mistral", "llama"}, {"qwen2", "qwen2"}, {"qwen3", "qwen3"}};

// Translates "PREFIX N . MIDDLE .weight|.bias" and names outside layers.
std::optional<std::string> translate(std::string_view name, std::string_view NamePair::*from,
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
  for (const NamePair& pair : kLayerTensors) {
    if (rest.substr(n_digits + 1) == pair.*from) {
      return std::string(to_layers) + std::string(rest.substr(0, n_digits + 1)) +
             std::string(pair.*to) + std::string(ending);
    }
  }
  return std::nullopt;
}

}  // namespace

std::optional<std::string> hf_tensor_name(std::string_view gguf_name) {
  return translate(gguf_name, &NamePair::gguf, &NamePair::hf, kGgufLayers, kHfLayers);
}

std::optional<std::string> gguf_tensor_name(std::string_view hf_name) {
  return translate(hf_name, &NamePair::hf, &NamePair::gguf, kHfLayers, kGgufLayers);
}

std::optional<std::string_view> gguf_architecture(std::string_view model_type) {
  for (const auto& [known, architecture] : kArchitectures) {
    if (known == model_type) return architecture;
  }
  return std::nullopt;
}

bool has_interleaved_rows(std::string_view architecture, std::string_view hf_name) {
  return architecture == "llama" && (hf_name.find(".q_proj.") != std::string_view::npos ||
                                     hf_name.find(".k_proj.") != std::string_view::npos);
}

}  // namespace chunkllm
