#include "cli/bench_table.h"

#include <fmt/core.h>

#include <cmath>
#include <cstdio>

namespace chunkllm::cli {
namespace {

std::string cell(const nlohmann::ordered_json& value) {
  if (value.is_string()) return value.get<std::string>();
  if (!value.is_number_float()) return value.dump();
  const auto number = value.get<double>();
  return std::abs(number) >= 100 ? fmt::format("{:.1f}", number) : fmt::format("{:.4g}", number);
}

// A field of CSV as RFC 4180 has it: quoted where it holds a comma, a quote or a line end.
std::string csv_field(const std::string& text) {
  if (text.find_first_of(",\"\r\n") == std::string::npos) return text;
  std::string quoted = "\"";
  for (const char c : text) {
    if (c == '"') quoted += '"';
    quoted += c;
  }
  return quoted + '"';
}

std::string line(const std::vector<std::string>& cells, bool csv) {
  std::string text = csv ? "" : "|";
  for (const std::string& cell : cells) {
    if (csv) {
      if (!text.empty()) text += ',';
      text += csv_field(cell);
    } else {
      text += ' ' + cell + " |";
    }
  }
  return text;
}

}  // namespace

void print_table(const std::vector<nlohmann::ordered_json>& rows, const std::string& form) {
  if (form == "json") {
    std::puts(nlohmann::ordered_json(rows).dump(1).c_str());
    return;
  }
  if (rows.empty()) return;
  const bool csv = form == "csv";
  std::vector<std::string> cells;
  for (const auto& [name, value] : rows.front().items()) cells.push_back(name);
  std::puts(line(cells, csv).c_str());
  if (!csv) {
    std::string rule = "|";
    for (size_t i = 0; i < cells.size(); ++i) rule += "---|";
    std::puts(rule.c_str());
  }
  for (const nlohmann::ordered_json& row : rows) {
    cells.clear();
    for (const auto& [name, value] : row.items()) cells.push_back(cell(value));
    std::puts(line(cells, csv).c_str());
  }
}

}  // namespace chunkllm::cli
