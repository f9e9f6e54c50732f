#include "cli/batch.h"

#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <string_view>

#include "base/error.h"
#include "base/json.h"
#include "cli/completion.h"

namespace chunkllm::cli {
namespace {

// What the line of item `index` begins with; tells a line that was cut short from a strange file.
std::string line_begin(size_t index) { return fmt::format("{{\"index\":{},", index); }

BatchItem read_item(std::string_view line, const std::string& where, const BatchPrompts& prompts) {
  if (line.find_first_not_of(" \t\r") == std::string_view::npos) {
    fail(ErrorCode::kData, "{}: the line is empty; remove it", where);
  }
  const nlohmann::json json = parse_json(line, where);
  const JsonFields fields(json, where);
  if (fields.has("prompt") == fields.has("messages")) {
    fail(ErrorCode::kData, "{}: needs either prompt or messages, one of them", where);
  }
  BatchItem item;
  if (fields.has("id")) {
    item.id = fields.at("id");
    if (!item.id.is_string() && !item.id.is_number_integer()) {
      fail(ErrorCode::kData, "{}: id must be a string or an integer", where);
    }
  }
  if (fields.has("messages")) {
    item.prompt = prompts.messages(parse_messages(fields.at("messages"), where));
    return item;
  }
  const std::string text = fields.string("prompt");
  if (text.empty()) fail(ErrorCode::kData, "{}: prompt is empty; give text", where);
  item.prompt = prompts.text(text);
  return item;
}

void check_result(std::string_view line, const std::string& where, size_t index,
                  const std::vector<BatchItem>& items) {
  const auto refuse = [&](const std::string& what) {
    fail(ErrorCode::kData, "{}: {}; continue with the same --input or name another --output", where,
         what);
  };
  if (index >= items.size()) {
    refuse(fmt::format("there are more results than the {} prompts", items.size()));
  }
  const nlohmann::json json = nlohmann::json::parse(line, nullptr, false);
  if (!line.starts_with(line_begin(index)) || !json.is_object()) {
    refuse("this is no result of this program at its place");
  }
  const nlohmann::json id = json.value("id", nlohmann::json());
  if (id != items[index].id) {
    refuse(fmt::format("the result has the id {}, the prompt {}", show_text(id.dump()),
                       show_text(items[index].id.dump())));
  }
}

}  // namespace

std::vector<BatchItem> read_batch(const std::filesystem::path& path, const BatchPrompts& prompts) {
  const std::string text = read_text_file(path.string());
  std::vector<BatchItem> items;
  for (std::string_view left = text; !left.empty();) {
    const size_t end = std::min(left.find('\n'), left.size());
    const std::string where = fmt::format("{}:{}", path.string(), items.size() + 1);
    try {
      items.push_back(read_item(left.substr(0, end), where, prompts));
    } catch (const Error& error) {
      // What a tokenizer or chat format says does not know the line.
      const std::string message = error.what();
      if (message.starts_with(where)) throw;
      fail(ErrorCode::kData, "{}: {}", where, message);
    }
    left.remove_prefix(std::min(end + 1, left.size()));
  }
  if (items.empty()) {
    fail(ErrorCode::kData, "{} holds no prompts; give one JSON object a line", path.string());
  }
  return items;
}

BatchOutput::BatchOutput(const std::filesystem::path& path, const std::vector<BatchItem>& items)
    : path_(path.string()), items_(items) {
  std::error_code error;
  std::string text;
  if (std::filesystem::exists(path, error)) {
    if (!std::filesystem::is_regular_file(path, error)) {
      fail(ErrorCode::kIo, "{} is not a regular file; name a file", path_);
    }
    text = read_text_file(path_);
  }
  std::string_view left = text;
  for (size_t end; (end = left.find('\n')) != left.npos; left.remove_prefix(end + 1)) {
    check_result(left.substr(0, end), fmt::format("{}:{}", path_, n_done_ + 1), n_done_, items);
    ++n_done_;
  }
  const std::string begin = line_begin(n_done_);
  const size_t n_compared = std::min(begin.size(), left.size());
  if (left.substr(0, n_compared) != begin.substr(0, n_compared)) {
    fail(ErrorCode::kData,
         "{}:{}: this is no result of this program, nor the begin of one; name another --output",
         path_, n_done_ + 1);
  }
  size_bytes_ = static_cast<int64_t>(text.size() - left.size());
  fd_ = ::open(path_.c_str(), O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0644);
  if (fd_ < 0) fail_write("open");
  if (!left.empty() && ::ftruncate(fd_, size_bytes_) != 0) fail_write("shorten");
}

BatchOutput::~BatchOutput() {
  if (fd_ >= 0) ::close(fd_);
}

void BatchOutput::fail_write(const char* what) const {
  fail(ErrorCode::kIo, "cannot {} {}: {}; it holds {} of {} results", what, path_,
       std::strerror(errno), n_done_, items_.size());
}

void BatchOutput::append(const nlohmann::ordered_json& result) {
  nlohmann::ordered_json record;
  record["index"] = n_done_;
  if (!items_[n_done_].id.is_null()) record["id"] = items_[n_done_].id;
  record.update(result);
  const std::string line = record.dump() + "\n";
  for (size_t done = 0; done < line.size();) {
    const ssize_t n = ::write(fd_, line.data() + done, line.size() - done);
    if (n < 0 && errno == EINTR) continue;
    if (n <= 0) {
      const int write_errno = errno;
      // If this fails too, the next run removes the half line.
      if (::ftruncate(fd_, size_bytes_) == 0) errno = write_errno;
      errno = write_errno;
      fail_write("write");
    }
    done += static_cast<size_t>(n);
  }
  size_bytes_ += static_cast<int64_t>(line.size());
  ++n_done_;
}

}  // namespace chunkllm::cli
