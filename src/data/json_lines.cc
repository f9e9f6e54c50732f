#include "data/json_lines.h"

#include <algorithm>
#include <string_view>

#include "base/error.h"
#include "base/json.h"
#include "base/mapped_file.h"
#include "text/utf8.h"

namespace chunkllm {

std::vector<std::filesystem::path> json_line_files(
    const std::vector<std::filesystem::path>& paths) {
  std::vector<std::filesystem::path> files;
  for (const std::filesystem::path& path : paths) {
    std::error_code error;
    if (!std::filesystem::is_directory(path, error)) {
      files.push_back(path);
      continue;
    }
    std::vector<std::filesystem::path> inside;
    for (const auto& entry : std::filesystem::directory_iterator(path, error)) {
      if (entry.path().extension() == ".jsonl") inside.push_back(entry.path());
    }
    if (error) fail(ErrorCode::kIo, "cannot list {}: {}", path.string(), error.message());
    std::ranges::sort(inside);
    files.insert(files.end(), inside.begin(), inside.end());
  }
  return files;
}

void for_each_json_line(
    const std::filesystem::path& file,
    const std::function<void(const nlohmann::json& record, const std::string& where)>& take) {
  const MappedFile mapped(file);
  std::string_view rest = without_byte_order_mark(
      {reinterpret_cast<const char*>(mapped.bytes().data()), mapped.bytes().size()});
  for (int64_t number = 1; !rest.empty(); ++number) {
    const std::string_view line = rest.substr(0, rest.find('\n'));
    rest.remove_prefix(std::min(line.size() + 1, rest.size()));
    if (line.find_first_not_of(" \t\r\n") == std::string_view::npos) continue;
    const std::string where = fmt::format("{}, line {}", file.string(), number);
    take(parse_json(line, where, "mend this line"), where);
  }
}

std::vector<std::string> read_texts(const nlohmann::json& record, const char* name,
                                    const std::string& where) {
  const nlohmann::json& list = JsonFields(record, where).at(name);
  const auto is_text = [](const nlohmann::json& value) { return value.is_string(); };
  if (!list.is_array() || list.empty() || !std::ranges::all_of(list, is_text)) {
    fail(ErrorCode::kData, "{}: {} must be a list of texts, one at least", where, name);
  }
  return list.get<std::vector<std::string>>();
}

}  // namespace chunkllm
