#include "cli/options.h"

#include <fmt/core.h>

#include <algorithm>
#include <charconv>
#include <optional>
#include <system_error>

#include "base/json.h"

namespace chunkllm::cli {
namespace {

constexpr int kMostValues = 1 << 16;  // of one option; below the parser's "any number"

// The text that the parser reads as the same number, or what is wrong.
struct Number {
  int64_t value = 0;
  std::string error;
};

Number read_whole_number(const std::string& text, int64_t min, int64_t max) {
  int64_t value = 0;
  const char* end = text.data() + text.size();
  const auto [stop, error] = std::from_chars(text.data(), end, value);
  if (error == std::errc::invalid_argument || stop != end) {
    return {0, fmt::format("{} is no whole number in decimal digits", show_text(text))};
  }
  if (error != std::errc() || value < min || value > max) {
    return {0, fmt::format("{} is not in the range {} to {}", text, min, max)};
  }
  return {value, ""};
}

std::string check_decimal_number(const std::string& text, double min, double max) {
  double value = 0;
  const char* end = text.data() + text.size();
  const auto [stop, error] = std::from_chars(text.data(), end, value);
  if (error == std::errc::invalid_argument || stop != end) {
    return fmt::format("{} is no decimal number", show_text(text));
  }
  const bool has_limits = min > -std::numeric_limits<double>::infinity();
  if (error != std::errc() || (has_limits && !(value >= min && value <= max))) {
    return has_limits ? fmt::format("{} is not in the range {} to {}", text, min, max)
                      : fmt::format("{} is too large or too small", text);
  }
  return {};
}

CLI::Validator decimal_validator(double min, double max, const std::string& description) {
  return {[min, max](std::string& text) { return check_decimal_number(text, min, max); },
          description};
}

// The parser takes no list apart that a callback takes whole.
CLI::Option* add_list(CLI::App& app, const std::string& names, const std::string& description,
                      int most, CLI::callback_t take) {
  return app.add_option(names, std::move(take), description)
      ->expected(1, most)
      ->allow_extra_args(false)
      ->multi_option_policy(CLI::MultiOptionPolicy::TakeAll);
}

CLI::callback_t keep_in(std::vector<std::string>& texts) {
  return [&texts](const CLI::results_t& results) {
    texts = results;
    return true;
  };
}

std::vector<std::string> split_at_commas(const CLI::results_t& results) {
  std::vector<std::string> parts;
  for (const std::string& result : results) {
    size_t begin = 0;
    for (size_t comma; (comma = result.find(',', begin)) != std::string::npos; begin = comma + 1) {
      parts.push_back(result.substr(begin, comma - begin));
    }
    parts.push_back(result.substr(begin));
  }
  return parts;
}

}  // namespace

CLI::Validator whole_number(int64_t min, int64_t max) {
  return {[min, max](std::string& text) {
            const Number number = read_whole_number(text, min, max);
            if (number.error.empty()) text = std::to_string(number.value);
            return number.error;
          },
          fmt::format("{} to {}", min, max)};
}

CLI::Validator decimal_number() {
  constexpr double kInfinity = std::numeric_limits<double>::infinity();
  return decimal_validator(-kInfinity, kInfinity, "");
}

CLI::Validator decimal_number(double min, double max) {
  return decimal_validator(min, max, fmt::format("{} to {}", min, max));
}

CLI::Validator not_empty(const std::string& instead) {
  return {[instead](std::string& text) {
            return text.empty() ? "the value is empty; " + instead : std::string();
          },
          ""};
}

CLI::Option* add_texts(CLI::App& app, const std::string& names, std::vector<std::string>& texts,
                       const std::string& description) {
  return add_list(app, names, description, 1, keep_in(texts));
}

CLI::Option* add_paths(CLI::App& app, const std::string& names, std::vector<std::string>& paths,
                       const std::string& description) {
  return add_list(app, names, description, kMostValues, keep_in(paths));
}

CLI::Option* add_words(CLI::App& app, const std::string& names, std::vector<std::string>& words,
                       const std::string& description) {
  return add_list(app, names, description, kMostValues, [&, names](const CLI::results_t& results) {
    words = split_at_commas(results);
    if (std::ranges::find(words, "") != words.end()) {
      throw CLI::ValidationError(names, "the list has an empty entry");
    }
    return true;
  });
}

CLI::Option* add_whole_numbers(CLI::App& app, const std::string& names,
                               std::vector<int64_t>& numbers, int64_t min, int64_t max,
                               const std::string& description) {
  const auto take = [&numbers, min, max, names](const CLI::results_t& results) {
    numbers.clear();
    for (const std::string& part : split_at_commas(results)) {
      const Number number = read_whole_number(part, min, max);
      if (!number.error.empty()) throw CLI::ValidationError(names, number.error);
      numbers.push_back(number.value);
    }
    return true;
  };
  std::string defaults;
  for (const int64_t number : numbers) {
    defaults += (defaults.empty() ? "" : ",") + std::to_string(number);
  }
  return add_list(app, names, description, kMostValues, take)
      ->type_name("N,...")
      ->default_str(defaults);
}

std::vector<std::string> reversed_words(const CLI::App& app, std::span<const std::string> words) {
  const CLI::App* command = &app;
  const auto takes_value = [&](const std::string& name) {
    const CLI::Option* option = command->get_option_no_throw(name);
    return option != nullptr && option->get_expected_min() > 0;
  };
  std::vector<std::string> cut;
  bool is_value = false;  // of the option before, whatever it looks like
  for (const std::string& word : words) {
    const size_t equals = word.find('=');
    if (is_value || !word.starts_with("-")) {
      if (cut.empty()) {
        const auto named = app.get_subcommands(
            [&](const CLI::App* candidate) { return candidate->get_name() == word; });
        if (!named.empty()) command = named.front();
      }
      is_value = false;
    } else if (word.starts_with("--") && equals != std::string::npos &&
               takes_value(word.substr(0, equals))) {
      cut.push_back(word.substr(0, equals));
      cut.push_back(word.substr(equals + 1));
      continue;
    } else {
      is_value = takes_value(word);
    }
    cut.push_back(word);
  }
  std::ranges::reverse(cut);
  return cut;
}

}  // namespace chunkllm::cli
