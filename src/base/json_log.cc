#include "base/json_log.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/file.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <fstream>
#include <sstream>
#include <string_view>
#include <utility>

#include "base/atomic_file.h"
#include "base/error.h"
#include "base/json.h"

namespace chunkllm {
namespace {

struct Line {
  std::string_view text;  // without the line end
  nlohmann::json record;
};

std::string read_text(const std::filesystem::path& path) {
  std::error_code error;
  if (!std::filesystem::is_regular_file(path, error)) {
    fail(ErrorCode::kIo, "{} is no file that can be read; give the folder of a run", path.string());
  }
  std::ifstream file(path, std::ios::binary);
  std::ostringstream text;
  if (file.peek() != std::ifstream::traits_type::eof()) text << file.rdbuf();
  if (!file.is_open() || file.bad() || !text) {
    fail(ErrorCode::kIo, "cannot read {}: {}", path.string(), std::strerror(errno));
  }
  return std::move(text).str();
}

// The records of a log's text, which must outlive them. A line without an end was cut short.
std::vector<Line> parse_lines(std::string_view text, const std::filesystem::path& path,
                              const CheckRecord& stays) {
  std::vector<Line> lines;
  int64_t number = 0;
  for (size_t end; (end = text.find('\n')) != text.npos; text.remove_prefix(end + 1)) {
    const std::string where = fmt::format("{}:{}", path.string(), ++number);
    const std::string_view line = text.substr(0, end);
    nlohmann::json record = parse_json(line, where, "remove this line");
    if (!record.is_object()) {
      fail(ErrorCode::kData, "{}: must be a JSON object; remove this line", where);
    }
    if (!stays || stays(record, where)) lines.push_back({line, std::move(record)});
  }
  return lines;
}

}  // namespace

JsonLog::JsonLog(const std::filesystem::path& path, bool goes_on, const CheckRecord& stays)
    : path_(path), file_(open()) {
  if (goes_on) {
    const std::string text = read_text(path);
    std::string kept;
    for (const Line& line : parse_lines(text, path, stays)) {
      kept.append(line.text).push_back('\n');
    }
    if (kept != text) {
      write_file_atomically(path, kept);
      file_ = open();
    }
  } else if (::ftruncate(file_.get(), 0) != 0 && errno != EINVAL) {  // as of a device
    fail(ErrorCode::kIo, "cannot empty {}: {}", path.string(), std::strerror(errno));
  }
}

// The file is locked as long as the log is open. Where a file system has no locks there are none.
FileDescriptor JsonLog::open() const {
  FileDescriptor file(::open(path_.c_str(), O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0644));
  if (!file.is_open()) {
    fail(ErrorCode::kIo, "cannot open {}: {}", path_.string(), std::strerror(errno));
  }
  if (::flock(file.get(), LOCK_EX | LOCK_NB) != 0 && errno == EWOULDBLOCK) {
    fail(ErrorCode::kIo, "another run writes to {}; let it end, or give another folder",
         path_.string());
  }
  return file;
}

void JsonLog::write(const nlohmann::ordered_json& record) {
  // Text that is not UTF-8 is replaced rather than refused: a log line must not end a long run.
  std::string line = record.dump(-1, ' ', false, nlohmann::ordered_json::error_handler_t::replace);
  line.push_back('\n');
  std::string_view rest = line;
  while (!rest.empty()) {
    const ssize_t n_written = ::write(file_.get(), rest.data(), rest.size());
    if (n_written < 0) {
      if (errno == EINTR) continue;
      fail(ErrorCode::kIo, "cannot write {}: {}", path_.string(), std::strerror(errno));
    }
    rest.remove_prefix(static_cast<size_t>(n_written));
  }
}

std::vector<nlohmann::json> read_json_log(const std::filesystem::path& path,
                                          const CheckRecord& check) {
  const std::string text = read_text(path);
  std::vector<nlohmann::json> records;
  for (Line& line : parse_lines(text, path, check)) records.push_back(std::move(line.record));
  return records;
}

}  // namespace chunkllm
