// The families of decoder-only Transformers that the engine runs. They share one forward pass; a
// family says which of its parts a checkpoint has.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "base/json.h"
#include "model/config.h"

namespace chunkllm {

struct Architecture {
  const char* model_type;  // as config.json spells it
  // Fills in what is the family's own: biases, norms of queries and keys, head_dim if the file
  // leaves it out. Throws Error (kUnsupported) naming what the engine cannot do. `where` names the
  // file.
  void (*configure)(const JsonFields& fields, const std::string& where, ModelConfig& config);
};

// Throws Error (kUnsupported) naming `model_type` and those that are supported.
const Architecture& find_architecture(std::string_view model_type, const std::string& where);

// Throws Error (kUnsupported) if the model attends to a window of the last tokens only.
void refuse_sliding_window(const JsonFields& fields, const std::string& where,
                           const ModelConfig& config);

}  // namespace chunkllm
