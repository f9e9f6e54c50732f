// Python's two ways of filling in strings: "%s" % x and "{}".format(x).
#pragma once

#include "text/chat/jinja/interpreter.h"

namespace chunkllm::jinja {

// `values`: a tuple of them, a dict for %(name)s, or a single one. Throws Error (kData).
Value format_percent(Interpreter& interpreter, const Text& pattern, const Value& values);

// Throws Error (kData).
Value format_braces(Interpreter& interpreter, const Text& pattern, const CallArgs& args);

}  // namespace chunkllm::jinja
