#include "model/architecture.h"

#include <fmt/ranges.h>

#include <algorithm>
#include <vector>

#include "base/error.h"
#include "model/config_limits.h"
#include "model/families/families.h"

namespace chunkllm {
namespace {

const Architecture& find(std::string_view name, const char* Architecture::*of, const char* field,
                         const std::string& where) {
  std::vector<std::string_view> known;
  for (const Architecture* architecture : kArchitectures) {
    const std::string_view own = architecture->*of;
    if (name == own) return *architecture;
    if (std::ranges::find(known, own) == known.end()) known.push_back(own);
  }
  fail(ErrorCode::kUnsupported, "{}: {} {} is not supported; {} are", where, field, show_text(name),
       fmt::join(known, ", "));
}

std::vector<bool> layer_types(const JsonFields& fields, const std::string& where,
                              int64_t n_layers) {
  const nlohmann::json& types = fields.at("layer_types");
  if (!types.is_array() || static_cast<int64_t>(types.size()) != n_layers) {
    fail(ErrorCode::kData, "{}: layer_types must name the type of each of the {} layers", where,
         n_layers);
  }
  std::vector<bool> slides;
  for (const nlohmann::json& type : types) {
    if (type != "sliding_attention" && type != "full_attention") {
      fail(ErrorCode::kUnsupported,
           "{}: layer_types names {}; only full_attention and sliding_attention are supported",
           where, show_text(type.is_string() ? type.get<std::string>() : type.dump()));
    }
    slides.push_back(type == "sliding_attention");
  }
  return slides;
}

}  // namespace

const Architecture& find_architecture(std::string_view model_type, const std::string& where) {
  for (const Architecture* architecture : kArchitectures) {
    if (architecture->wrapper != nullptr && model_type == architecture->wrapper) {
      return *architecture;
    }
  }
  return find(model_type, &Architecture::model_type, "model_type", where);
}

const Architecture& find_gguf_architecture(std::string_view architecture,
                                           const std::string& where) {
  return find(architecture, &Architecture::gguf, "general.architecture", where);
}

void read_sliding_layers(const JsonFields& fields, const std::string& where, ModelConfig& config) {
  const auto n_layers = static_cast<size_t>(config.n_layers);
  std::vector<bool> slides(n_layers, true);
  if (fields.has("layer_types")) {
    slides = layer_types(fields, where, config.n_layers);
  } else if (fields.has("sliding_window_pattern")) {
    const int64_t pattern = fields.integer("sliding_window_pattern", 1, kMaxLayers);
    for (size_t i = 0; i < n_layers; ++i) {
      slides[i] = (static_cast<int64_t>(i) + 1) % pattern != 0;
    }
  } else {
    const auto first =
        std::min(fields.integer_or("max_window_layers", 0, int64_t{1} << 30, 0), config.n_layers);
    std::fill_n(slides.begin(), first, false);
  }
  if (std::ranges::find(slides, true) == slides.end()) return;
  if (!fields.has("sliding_window")) {
    if (!fields.has("layer_types")) return;
    fail(ErrorCode::kData, "{}: layer_types has layers that slide, and there is no sliding_window",
         where);
  }
  const int64_t window = fields.integer("sliding_window", 1, int64_t{1} << 40);
  if (window >= config.max_positions && config.sliding_rope == config.rope) return;
  config.window = window;
  config.sliding_layers = std::move(slides);
}

void refuse_sliding_window(const JsonFields& fields, const std::string& where,
                           const ModelConfig& config) {
  if (fields.has("layer_types")) {
    const std::vector<bool> slides = layer_types(fields, where, config.n_layers);
    if (std::ranges::find(slides, true) != slides.end()) {
      fail(ErrorCode::kUnsupported,
           "{}: layer_types asks for layers that slide; models of this family have none", where);
    }
    return;
  }
  if (!fields.has("sliding_window")) return;
  const int64_t window = fields.integer("sliding_window", 0, int64_t{1} << 40);
  if (window < config.max_positions) {
    fail(ErrorCode::kUnsupported,
         "{}: sliding_window {} is in use (max_position_embeddings is {}); models of this family "
         "have none",
         where, window, config.max_positions);
  }
}

}  // namespace chunkllm
