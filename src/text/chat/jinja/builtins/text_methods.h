// What the methods of strings and the filters share.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "text/chat/jinja/interpreter.h"

namespace chunkllm::jinja {

// Python's strip(), of white space where `chars` is null.
TextPtr strip(Interpreter& in, const TextPtr& text, const std::string* chars, StripSides sides);

// Python's replace(); all of them where `n_max` < 0.
TextPtr replace(Interpreter& in, const TextPtr& text, const Text& old, const Text& with,
                int64_t n_max);

// Fills `text` up to `width` characters on the right, on both sides, or on the left (0, 1 or 2).
TextPtr pad(Interpreter& in, const TextPtr& text, int64_t width, const Text& fill, int left_of_two);

// Bytes of the lines that Python's splitlines() sees.
struct LineRange {
  size_t begin = 0;
  size_t end = 0;
  size_t end_with_break = 0;
};
std::vector<LineRange> line_ranges(std::string_view text);

}  // namespace chunkllm::jinja
