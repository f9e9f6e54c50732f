#include "data/ruler/lines.h"

#include "base/error.h"
#include "base/json.h"
#include "data/json_lines.h"
#include "data/ruler/ruler.h"

namespace chunkllm {
namespace {

constexpr int64_t kMostIndex = int64_t{1} << 40;
constexpr int64_t kMostLength = int64_t{1} << 30;

// What the last line of the input has of the answer goes to the answer.
void cut_answer_begin(RulerLine& line) {
  const std::string_view mark = retrieval_family(line.task).answer_mark;
  if (mark.empty()) return;
  const size_t at = line.input.rfind(mark);
  if (at == std::string::npos || at == 0) return;
  if (line.input.find('\n', at) != std::string::npos) return;
  line.answer_begin = line.input.substr(at);
  line.input.resize(at);
}

RulerLine read_line(const nlohmann::json& json, const std::string& where, const std::string& task) {
  const JsonFields fields(json, where);
  RulerLine line;
  line.task = fields.string_or("task", task);
  line.index = fields.integer("index", 0, kMostIndex);
  line.input = fields.string("input");
  line.length = fields.integer("length", 1, kMostLength);
  line.where = where;
  if (line.task.empty()) fail(ErrorCode::kData, "{}: task is empty; name it", where);
  if (line.input.empty()) fail(ErrorCode::kData, "{}: input is empty; give the prompt", where);
  line.expected = read_texts(json, "outputs", where);
  for (const std::string& output : line.expected) {
    if (output.empty()) fail(ErrorCode::kData, "{}: an output is empty; give texts", where);
  }
  if (fields.has("answer_prefix")) {
    line.answer_begin = fields.string("answer_prefix");
  } else {
    cut_answer_begin(line);
  }
  return line;
}

}  // namespace

std::string ruler_task_of(const std::filesystem::path& file) {
  std::string stem = file.stem().string();
  const bool is_subset = stem == "validation" || stem == "test";
  const std::filesystem::path folder = file.parent_path().filename();
  return is_subset && !folder.empty() ? folder.string() : stem;
}

std::vector<RulerLine> read_ruler_lines(const std::filesystem::path& file) {
  const std::string task = ruler_task_of(file);
  std::vector<RulerLine> lines;
  for_each_json_line(file, [&](const nlohmann::json& json, const std::string& where) {
    lines.push_back(read_line(json, where, task));
  });
  if (lines.empty()) {
    fail(ErrorCode::kData,
         "{} holds no lines of RULER's, {{\"index\", \"input\", \"outputs\", "
         "\"length\"}}",
         file.string());
  }
  return lines;
}

}  // namespace chunkllm
