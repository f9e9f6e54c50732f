// What texts without sense are filled with.
#pragma once

#include <string_view>

namespace chunkllm {

// A line of RULER's noise, without its end.
inline constexpr std::string_view kNoiseLine =
    "The grass is green. The sky is blue. The sun is yellow. Here we go. There and back again.";

}  // namespace chunkllm
