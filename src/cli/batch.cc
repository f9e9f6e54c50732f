#include "cli/batch.h"

#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <string_view>
#include <utility>

#include "base/error.h"
#include "base/json.h"
#include "cli/batch_settings.h"
#include "cli/completion.h"

namespace chunkllm::cli {
namespace {

// What the line of item `index` begins with; tells a line that was cut short from a strange file.
std::string line_begin(size_t index) { return fmt::format("{{\"index\":{},", index); }

BatchItem read_item(std::string_view line, const std::string& where, const BatchPrompts& prompts) {
  if (line.find_first_not_of(" \t\r") == std::string_view::npos) {
    fail(ErrorCode::kData, "{}: the line is empty; remove it", where);
  }
  const nlohmann::json json = parse_json(line, where, "mend this line");
  const JsonFields fields(json, where);
  for (const auto& [name, value] : json.items()) {
    if (name == "prompt" || name == "messages" || name == "id") continue;
    fail(
        ErrorCode::kData,
        "{}: {} is no field of a line; it has prompt or messages, and id, and options are those of "
        "the command",
        where, show_text(name));
  }
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
    const nlohmann::ordered_json ordered = parse_ordered_json(line, where, "mend this line");
    item.prompt = prompts.messages(parse_messages(ordered.at("messages"), where));
    return item;
  }
  const std::string text = fields.string("prompt");
  if (text.empty()) fail(ErrorCode::kData, "{}: prompt is empty; give text", where);
  item.prompt = prompts.text(text);
  return item;
}

nlohmann::json read_result(std::string_view line, const std::string& where, size_t index,
                           const std::vector<BatchItem>& items) {
  const auto refuse = [&](const std::string& what) {
    fail(ErrorCode::kData, "{}: {}; continue with the same --input or name another --output", where,
         what);
  };
  if (index >= items.size()) {
    refuse(fmt::format("there are more results than the {} prompts", items.size()));
  }
  if (!line.starts_with(line_begin(index))) {
    refuse("this is no result of this program at its place");
  }
  // An object, as it begins.
  nlohmann::json json = parse_json(line, where, "name another --output");
  const nlohmann::json id = json.value("id", nlohmann::json());
  if (id != items[index].id) {
    refuse(fmt::format("the result has the id {}, the prompt {}", show_text(id.dump()),
                       show_text(items[index].id.dump())));
  }
  return json;
}

}  // namespace

std::vector<BatchItem> read_batch(const std::filesystem::path& path, const BatchPrompts& prompts) {
  const std::string text = read_text_file(path.string());
  std::vector<BatchItem> items;
  int64_t n_lines = 0;
  size_t end = 0;
  for (std::string_view left = text; !left.empty();
       left.remove_prefix(std::min(end + 1, left.size()))) {
    end = std::min(left.find('\n'), left.size());
    const std::string_view line = left.substr(0, end);
    ++n_lines;
    if (line.find_first_not_of(" \t\r") == line.npos) continue;
    const std::string where = fmt::format("{}:{}", path.string(), n_lines);
    try {
      items.push_back(read_item(line, where, prompts));
      items.back().line = n_lines;
    } catch (const Error& error) {
      // What a tokenizer or chat format says does not know the line.
      const std::string message = error.what();
      if (message.starts_with(where)) throw;
      fail(ErrorCode::kData, "{}: {}", where, message);
    }
  }
  if (items.empty()) {
    fail(ErrorCode::kData, "{} holds no prompts; give one JSON object a line", path.string());
  }
  return items;
}

BatchOutput::BatchOutput(const std::filesystem::path& path, const std::vector<BatchItem>& items,
                         nlohmann::ordered_json settings)
    : path_(path.string()), items_(items), settings_(std::move(settings)) {
  std::error_code error;
  std::string text;
  if (std::filesystem::exists(path, error)) {
    if (!std::filesystem::is_regular_file(path, error)) {
      fail(ErrorCode::kIo, "{} is not a regular file; name a file", path_);
    }
    text = read_whole_file(path_);
  }
  const size_t end = text.rfind('\n') + 1;  // 0 without one
  check_results(std::string_view(text).substr(0, end));
  const std::string_view left = std::string_view(text).substr(end);
  const std::string begin = line_begin(n_done_);
  const size_t n_compared = std::min(begin.size(), left.size());
  if (left.substr(0, n_compared) != begin.substr(0, n_compared)) {
    fail(ErrorCode::kData,
         "{}:{}: this is no result of this program, nor the begin of one; name another --output",
         path_, n_done_ + 1);
  }
  size_bytes_ = static_cast<int64_t>(text.size() - left.size());
  file_ = FileDescriptor(::open(path_.c_str(), O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0644));
  if (!file_.is_open()) fail_write("open");
  if (!left.empty() && ::ftruncate(file_.get(), size_bytes_) != 0) fail_write("shorten");
}

void BatchOutput::check_results(std::string_view text) {
  std::string differences;
  std::vector<std::string> other_prompts;
  for (size_t end; (end = text.find('\n')) != text.npos; text.remove_prefix(end + 1)) {
    const std::string where = fmt::format("{}:{}", path_, n_done_ + 1);
    const nlohmann::json result = read_result(text.substr(0, end), where, n_done_, items_);
    if (n_done_ == 0) {
      const nlohmann::json before = result.value("settings", nlohmann::json());
      if (!before.is_object()) {
        fail(ErrorCode::kData,
             "{}: does not say with what settings it was made; name another --output", where);
      }
      differences = batch_difference(before, settings_);
      const nlohmann::json policy = result.value("policy", nlohmann::json());
      if (policy.is_string()) policy_ = policy;
    }
    if (result.value("prompt_digest", nlohmann::json()) != prompt_digest(items_[n_done_].prompt)) {
      other_prompts.push_back(std::to_string(items_[n_done_].line));
    }
    ++n_done_;
  }
  if (!other_prompts.empty()) {
    differences +=
        fmt::format("{}the prompts of {} lines, the first {}", differences.empty() ? "" : "; ",
                    other_prompts.size(), other_prompts.front());
  }
  if (differences.empty()) return;
  fail(ErrorCode::kData,
       "{} holds results of another run, which had: {}; continue with the same options and --input "
       "or name another --output",
       path_, differences);
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
  record["prompt_digest"] = prompt_digest(items_[n_done_].prompt);
  if (n_done_ == 0) record["settings"] = settings_;
  const std::string line = record.dump() + "\n";
  for (size_t done = 0; done < line.size();) {
    const ssize_t n = ::write(file_.get(), line.data() + done, line.size() - done);
    if (n < 0 && errno == EINTR) continue;
    if (n <= 0) {
      const int write_errno = errno;
      // If this fails too, the next run removes the half line.
      [[maybe_unused]] const int failed = ::ftruncate(file_.get(), size_bytes_);
      errno = write_errno;
      fail_write("write");
    }
    done += static_cast<size_t>(n);
  }
  size_bytes_ += static_cast<int64_t>(line.size());
  ++n_done_;
}

}  // namespace chunkllm::cli
