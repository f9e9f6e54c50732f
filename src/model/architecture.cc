#include "model/architecture.h"

#include <fmt/ranges.h>

#include "base/error.h"
#include "model/families/families.h"

namespace chunkllm {
namespace {

constexpr const Architecture* kArchitectures[] = {&kLlama, &kMistral, &kQwen2, &kQwen3};

}  // namespace

const Architecture& find_architecture(std::string_view model_type, const std::string& where) {
  std::vector<std::string_view> known;
  for (const Architecture* architecture : kArchitectures) {
    if (model_type == architecture->model_type) return *architecture;
    known.emplace_back(architecture->model_type);
  }
  fail(ErrorCode::kUnsupported, "{}: model_type {} is not supported; {} are", where,
       show_text(model_type), fmt::join(known, ", "));
}

void refuse_sliding_window(const JsonFields& fields, const std::string& where,
                           const ModelConfig& config) {
  if (fields.has("layer_types")) {
    const nlohmann::json& types = fields.at("layer_types");
    const bool full = types.is_array() && std::ranges::all_of(types, [](const auto& type) {
                        return type == "full_attention";
                      });
    if (!full) {
      fail(ErrorCode::kUnsupported,
           "{}: layer_types asks for layers without full attention; they are not supported", where);
    }
    return;
  }
  if (!fields.has("sliding_window") || !fields.boolean_or("use_sliding_window", true)) return;
  const int64_t window = fields.integer("sliding_window", 0, int64_t{1} << 40);
  if (window < config.max_positions) {
    fail(ErrorCode::kUnsupported,
         "{}: sliding_window {} is in use (max_position_embeddings is {}); it is not supported",
         where, window, config.max_positions);
  }
}

}  // namespace chunkllm
