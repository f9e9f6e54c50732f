// The rows of a benchmark as a table.
#pragma once

#include <nlohmann/json.hpp>
#include <string>
#include <vector>

namespace chunkllm::cli {

// Prints rows, objects with the same fields, to stdout as "md", "csv" or "json" (one array).
void print_table(const std::vector<nlohmann::ordered_json>& rows, const std::string& form);

}  // namespace chunkllm::cli
