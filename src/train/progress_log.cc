#include "train/progress_log.h"

#include <cstdint>
#include <limits>
#include <string>

#include "base/error.h"
#include "base/json.h"

namespace chunkllm {
namespace {

int64_t step_of(const nlohmann::json& record, const std::string& where) {
  return JsonFields(record, where).integer("step", 0, std::numeric_limits<int64_t>::max());
}

}  // namespace

ProgressLog::ProgressLog(const std::filesystem::path& path, std::optional<int64_t> resume_step)
    : log_(path, resume_step.has_value(),
           [&](const nlohmann::json& record, const std::string& where) {
             return step_of(record, where) <= *resume_step;
           }) {}

void ProgressLog::write(const nlohmann::ordered_json& record) {
  const auto step = record.is_object() ? record.find("step") : record.end();
  if (step == record.end() || !step->is_number_integer()) {
    fail(ErrorCode::kInvalidArgument, "a line of {} must be an object with an integer \"step\"",
         log_.path().string());
  }
  log_.write(record);
}

std::vector<nlohmann::json> read_progress_log(const std::filesystem::path& path) {
  return read_json_log(path, [](const nlohmann::json& record, const std::string& where) {
    step_of(record, where);
    return true;
  });
}

}  // namespace chunkllm
