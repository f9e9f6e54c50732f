// The names of an enum's values, in one table that parsers, help and printing share.
#pragma once

#include <optional>
#include <string>
#include <string_view>

#include "base/error.h"

namespace chunkllm {

template <typename E>
struct EnumName {
  E value;
  std::string_view name;
};

// An array of EnumName<E>, every value once; to be specialised beside the enum, in the order in
// which lists show the names.
template <typename E>
inline constexpr auto kEnumNames = nullptr;

// The name of a value of the table.
template <typename E>
constexpr std::string_view enum_name(E value) {
  for (const EnumName<E>& entry : kEnumNames<E>) {
    if (entry.value == value) return entry.name;
  }
  return "?";
}

template <typename E>
constexpr std::optional<E> find_enum(std::string_view name) {
  for (const EnumName<E>& entry : kEnumNames<E>) {
    if (entry.name == name) return entry.value;
  }
  return std::nullopt;
}

// All names: "own, next, both" with ", " twice, "own, next or both" with ", " and " or ".
template <typename E>
std::string enum_list(std::string_view separator, std::string_view last_separator) {
  std::string list;
  for (size_t i = 0; i < kEnumNames<E>.size(); ++i) {
    if (i > 0) list += i + 1 == kEnumNames<E>.size() ? last_separator : separator;
    list += kEnumNames<E>[i].name;
  }
  return list;
}

// The value of that name. Throws Error (`code`): "`what` `name`: must be own, next or both".
template <typename E>
E parse_enum(std::string_view what, std::string_view name,
             ErrorCode code = ErrorCode::kInvalidArgument) {
  if (const std::optional<E> value = find_enum<E>(name)) return *value;
  fail(code, "{} {}: must be {}", what, name, enum_list<E>(", ", " or "));
}

}  // namespace chunkllm
