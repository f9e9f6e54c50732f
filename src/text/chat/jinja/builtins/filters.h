// What stands after | and after "is", and the methods of values.
#pragma once

#include <string_view>

#include "text/chat/jinja/value.h"

namespace chunkllm::jinja {

using Filter = Value (*)(Interpreter& interpreter, const Value& value, const CallArgs& args);
using Test = bool (*)(Interpreter& interpreter, const Value& value, const CallArgs& args);

// Null if there is no filter or test of this name.
Filter find_filter(std::string_view name);
Test find_test(std::string_view name);

// The filters that give text or numbers, and the others.
Filter find_text_filter(std::string_view name);
Filter find_sequence_filter(std::string_view name);

// A method of a str, list, tuple or dict; null if it has none of this name. Methods that would
// change their object are left out, as in Jinja's immutable sandbox.
Function::Body find_method(const Value& self, std::string_view name);
Function::Body find_text_method(std::string_view name);

// A function that every template has; undefined if there is none of this name.
Value find_global(std::string_view name);

}  // namespace chunkllm::jinja
