// The full attention of single tokens, whatever a policy lets them attend to.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "model/transformer.h"

namespace chunkllm {

// Reads every key before the token, as `full` does. Keeps its work space between calls. One thread
// at a time.
class TokenMass {
 public:
  // The share of the attention of the token at `position`, one of the input's, that lies in each of
  // `ranges` (ascending, disjoint, cut at the token itself): the mean over heads of its softmax
  // over all rows up to its own. Valid until the next call.
  std::span<const float> in(const LayerInput& input, int64_t position,
                            std::span<const Range> ranges);

 private:
  std::vector<float> log_sum_exp_, out_, mass_;
};

}  // namespace chunkllm
