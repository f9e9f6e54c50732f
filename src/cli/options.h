// Option values as the user wrote them. The parser's own conversions read 010 as eight, take
// brackets apart and know empty lists by {}; the commands use these instead.
#pragma once

#include <CLI/CLI.hpp>
#include <cstdint>
#include <limits>
#include <span>
#include <string>
#include <vector>

namespace chunkllm::cli {

// For Option::transform. A whole number in decimal digits, perhaps after a minus, with leading
// zeros or without, within [min, max]; all else is refused: hexadecimal, 1e3, 8k, +5, blanks.
CLI::Validator whole_number(int64_t min, int64_t max);

// For Option::transform. A decimal number, perhaps with a fraction and an exponent, nan or inf,
// within [min, max]; without limits whoever uses it checks.
CLI::Validator decimal_number();
CLI::Validator decimal_number(double min, double max);

// For Option::check. Refuses an empty value, which would else be as if the option were not given;
// `instead` says how to do without: "leave it out for standard output".
CLI::Validator not_empty(const std::string& instead);

// An option that takes one text each time it is given, and any text at all.
CLI::Option* add_texts(CLI::App& app, const std::string& names, std::vector<std::string>& texts,
                       const std::string& description);
// An option that takes paths up to the next option, and may be given several times.
CLI::Option* add_paths(CLI::App& app, const std::string& names, std::vector<std::string>& paths,
                       const std::string& description);
// An option that takes words, or whole numbers within [min, max], separated by commas or blanks.
CLI::Option* add_words(CLI::App& app, const std::string& names, std::vector<std::string>& words,
                       const std::string& description);
CLI::Option* add_whole_numbers(CLI::App& app, const std::string& names,
                               std::vector<int64_t>& numbers, int64_t min, int64_t max,
                               const std::string& description);

// The command line, last word first as CLI::App::parse takes it, with each "--name=value" cut in
// two: the parser would go on to the next word where the value is empty.
std::vector<std::string> reversed_words(const CLI::App& app, std::span<const std::string> words);

}  // namespace chunkllm::cli
