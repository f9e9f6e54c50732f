// What Python's strings and patterns say of characters: published metrics are written in them.
#pragma once

#include <string>
#include <string_view>
#include <vector>

namespace chunkllm {

// All of these need valid UTF-8.

bool is_python_space(char32_t c);  // str.isspace()
bool is_python_digit(char32_t c);  // \d
bool is_python_word(char32_t c);   // \w

// str.lstrip(), str.strip() and str.split().
std::string_view python_lstrip(std::string_view text);
std::string_view python_strip(std::string_view text);
std::vector<std::string_view> python_split(std::string_view text);
// str.split(separator), for a separator of one byte: empty pieces stay.
std::vector<std::string_view> split_at(std::string_view text, char separator);
// re.findall("\d+").
std::vector<std::string_view> find_numbers(std::string_view text);

}  // namespace chunkllm
