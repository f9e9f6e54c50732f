// Files of JSON objects, one a line, that others made: sets of questions.
#pragma once

#include <filesystem>
#include <functional>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

namespace chunkllm {

// The files among `paths` as they are, and of folders the .jsonl files in them, by name. Throws
// Error (kIo) for a folder that cannot be listed.
std::vector<std::filesystem::path> json_line_files(const std::vector<std::filesystem::path>& paths);

// Hands over each line of a file, parsed; `where` names file and line. Blank lines are passed over.
// Throws Error: kIo; kData naming file and line for what is no JSON.
void for_each_json_line(
    const std::filesystem::path& file,
    const std::function<void(const nlohmann::json& record, const std::string& where)>& take);

// A field that is a list of texts, one at least. Throws Error (kData) if it is not.
std::vector<std::string> read_texts(const nlohmann::json& record, const char* name,
                                    const std::string& where);

}  // namespace chunkllm
