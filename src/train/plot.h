// train.svg: the course of a training run, from its log.
#pragma once

#include <nlohmann/json.hpp>
#include <span>
#include <string>

namespace chunkllm {

// Three panels over the steps: the losses; for each selecting layer recall@8 (beside what recent
// and random chunks give) or, where no record holds it, KL; boundary F1.
//
// Fields read from the records, each optional; null and other types count as missing:
//   step                        integer; records without it are skipped
//   loss_bce, loss_kl           the two losses of the step
//   kl, recall_at_8, recall_at_8_recent, recall_at_8_random
//                               a number for each selecting layer: an object whose keys are layer
//                               numbers
//   boundary_f1                 of the step's tokens
//   eval                        an object with the fields above, over text that is not trained on;
//                               drawn as series of their own
// Any number of records is fine, none included.
std::string render_training_svg(const std::string& title, std::span<const nlohmann::json> records);

}  // namespace chunkllm
