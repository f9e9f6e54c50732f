// What a training reports, as train.jsonl and the command's JSON have it.
#pragma once

#include <cstdint>
#include <nlohmann/json.hpp>

#include "train/boundary_fit.h"
#include "train/layer_fit.h"

namespace chunkllm {

// Adds one layer's figures, each in an object by layer: kl, recall_at_8, recall_at_8_recent,
// recall_at_8_random, captured_mass, captured_mass_recent (of boundaries) and
// captured_mass_prompt_end (where there are some). loss_kl becomes the mean of kl.
void add_layer(nlohmann::ordered_json& json, int64_t layer, const LayerReport& report);

// Adds loss_bce, boundary_precision, boundary_recall and boundary_f1, and boundary_f1_line_ends
// where a line end was a boundary or was taken for one.
void add_boundaries(nlohmann::ordered_json& json, const BoundaryReport& report);

// The mean over layers of one of the figures; 0 where there is none.
double mean_of(const nlohmann::ordered_json& json, const char* field);

}  // namespace chunkllm
