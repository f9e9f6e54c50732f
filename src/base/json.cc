#include "base/json.h"

#include <cerrno>
#include <cstring>
#include <fstream>
#include <limits>
#include <new>
#include <type_traits>
#include <utility>
#include <vector>

#include "base/error.h"

namespace chunkllm {
namespace {

using nlohmann::json;

constexpr size_t kMaxDepth = 64;

// Receives the events of nlohmann's parser, which keeps no stack frame per level, and builds the
// value. Every refusal is thrown from here, so a hostile text is left at its first offence.
template <typename Json>
class ValueBuilder final : public nlohmann::json_sax<Json> {
 public:
  // `is_one_line`: the text has no line end.
  ValueBuilder(const std::string& where, std::string_view advice, bool is_one_line)
      : where_(where), advice_(advice), is_one_line_(is_one_line) {}

  Json take() { return std::move(root_); }

  bool null() override { return put(nullptr); }
  bool boolean(bool value) override { return put(value); }
  bool number_integer(int64_t value) override { return put(value); }
  bool number_unsigned(uint64_t value) override { return put(value); }
  bool number_float(double value, const std::string&) override { return put(value); }
  bool string(std::string& value) override { return put(std::move(value)); }
  bool binary(typename Json::binary_t& value) override { return put(std::move(value)); }
  bool start_object(std::size_t) override { return open(Json::object()); }
  bool start_array(std::size_t) override { return open(Json::array()); }
  bool end_object() override { return close(); }
  bool end_array() override { return close(); }

  bool key(std::string& name) override {
    auto& members = open_.back()->template get_ref<typename Json::object_t&>();
    if (members.size() >= kMaxMembers) {
      fail(ErrorCode::kData, "{}: an object of more than {} members; make it smaller", where_,
           kMaxMembers);
    }
    const auto [member, is_new] = members.emplace(std::move(name), nullptr);
    if (!is_new) {
      fail(ErrorCode::kData, "{}: the key {} stands twice in one object; remove one", where_,
           show_text(member->first));
    }
    member_ = &member->second;
    return true;
  }

  bool parse_error(std::size_t position, const std::string&,
                   const nlohmann::detail::exception& error) override {
    // The parser's text reads "[json.exception...] parse error at line 1, column 2: reason; last
    // read: 'token'...", where the token is the file's, of any length and content.
    std::string reason = error.what();
    if (const size_t tag = reason.find("] "); tag != std::string::npos) reason.erase(0, tag + 2);
    // The byte says where in a text of one line, whose line in a file `where` may name.
    constexpr std::string_view kFirstLine = "parse error at line 1, ";
    if (is_one_line_ && reason.starts_with(kFirstLine)) {
      const size_t colon = reason.find(": ");
      if (colon != std::string::npos) reason.erase(0, colon + 2);
    }
    if (const size_t token = reason.find("; last read"); token != std::string::npos) {
      reason.resize(token);
    }
    if (reason.size() > 160) reason = reason.substr(0, 160) + "...";
    fail(ErrorCode::kData, "{} is not valid JSON (byte {}): {}; {}", where_, position, reason,
         advice_);
  }

 private:
  // Puts a value where the next one belongs and returns its place.
  template <typename Value>
  Json* place(Value&& value) {
    if (open_.empty()) {
      root_ = std::forward<Value>(value);
      return &root_;
    }
    if (open_.back()->is_array()) {
      return &open_.back()->template get_ref<typename Json::array_t&>().emplace_back(
          std::forward<Value>(value));
    }
    *member_ = std::forward<Value>(value);
    return member_;
  }

  template <typename Value>
  bool put(Value&& value) {
    place(std::forward<Value>(value));
    return true;
  }

  bool open(Json&& empty) {
    if (open_.size() >= kMaxDepth) {
      fail(ErrorCode::kData, "{}: JSON nested deeper than {} levels; flatten it", where_,
           kMaxDepth);
    }
    open_.push_back(place(std::move(empty)));
    return true;
  }

  bool close() {
    open_.pop_back();
    return true;
  }

  // Where members keep their order, each new one is compared with those before.
  static constexpr size_t kMaxMembers =
      std::is_same_v<Json, json> ? std::numeric_limits<size_t>::max() : 1024;

  const std::string& where_;
  std::string_view advice_;
  bool is_one_line_;
  Json root_;
  std::vector<Json*> open_;  // the objects and arrays around the next value, outermost first
  Json* member_ = nullptr;   // the value of the last key
};

template <typename Json>
Json parse(std::string_view text, const std::string& where, std::string_view advice) {
  // The parser would take a NUL for the end of the text and pass over what follows.
  if (const size_t nul = text.find('\0'); nul != std::string_view::npos) {
    fail(ErrorCode::kData, "{} is not valid JSON (byte {}): a NUL byte; {}", where, nul + 1,
         advice);
  }
  try {
    ValueBuilder<Json> builder(where, advice, text.find('\n') == std::string_view::npos);
    Json::sax_parse(text.begin(), text.end(), &builder);
    return builder.take();
  } catch (const std::bad_alloc&) {
    fail(ErrorCode::kMemory, "{}: not enough memory to hold {} bytes of JSON; free some memory",
         where, text.size());
  }
}

std::string read_file(const std::filesystem::path& path, int64_t max_bytes) {
  std::error_code error;
  const auto status = std::filesystem::status(path, error);
  if (!std::filesystem::exists(status)) {
    fail(ErrorCode::kIo, "cannot open {}: {}; check the path", path.string(),
         error ? error.message() : std::string("no such file"));
  }
  if (!std::filesystem::is_regular_file(status)) {
    fail(ErrorCode::kIo, "{} is not a regular file; name a file", path.string());
  }
  const uintmax_t size_bytes = std::filesystem::file_size(path, error);
  if (error) {
    fail(ErrorCode::kIo, "cannot read {}: {}; check its permissions", path.string(),
         error.message());
  }
  if (size_bytes > static_cast<uintmax_t>(max_bytes)) {
    fail(ErrorCode::kData, "{} has {} bytes, more than the {} expected of such a file; check it",
         path.string(), size_bytes, max_bytes);
  }
  std::ifstream file(path, std::ios::binary);
  if (!file) {
    fail(ErrorCode::kIo, "cannot open {}: {}; check its permissions", path.string(),
         std::strerror(errno));
  }
  std::string text(size_bytes, '\0');
  file.read(text.data(), static_cast<std::streamsize>(size_bytes));
  if (static_cast<uintmax_t>(file.gcount()) != size_bytes) {
    fail(ErrorCode::kIo, "cannot read all {} bytes of {}; check the disk", size_bytes,
         path.string());
  }
  return text;
}

}  // namespace

std::string show_text(std::string_view text) {
  constexpr size_t kMaxShown = 80;
  const bool cut = text.size() > kMaxShown;
  const std::string line = json(std::string(text.substr(0, kMaxShown)))
                               .dump(-1, ' ', true, json::error_handler_t::replace);
  return cut ? line + "..." : line;
}

json parse_json(std::string_view text, const std::string& where, std::string_view advice) {
  return parse<json>(text, where, advice);
}

nlohmann::ordered_json parse_ordered_json(std::string_view text, const std::string& where,
                                          std::string_view advice) {
  return parse<nlohmann::ordered_json>(text, where, advice);
}

json read_json_file(const std::filesystem::path& path, int64_t max_bytes, std::string_view advice) {
  return parse_json(read_file(path, max_bytes), path.string(), advice);
}

nlohmann::ordered_json read_ordered_json_file(const std::filesystem::path& path, int64_t max_bytes,
                                              std::string_view advice) {
  return parse_ordered_json(read_file(path, max_bytes), path.string(), advice);
}

JsonFields::JsonFields(const json& object, std::string where, std::string_view advice)
    : object_(object), where_(std::move(where)), advice_(advice) {
  if (!object.is_object()) {
    refuse(fmt::format("expected a JSON object, found {}", object.type_name()));
  }
}

void JsonFields::refuse(const std::string& what) const {
  fail(ErrorCode::kData, "{}: {}{}{}", where_, what, advice_.empty() ? "" : "; ", advice_);
}

bool JsonFields::has(const char* name) const {
  const auto field = object_.find(name);
  return field != object_.end() && !field->is_null();
}

const json& JsonFields::at(const char* name) const {
  const auto field = object_.find(name);
  if (field == object_.end()) refuse(fmt::format("the field \"{}\" is missing", name));
  if (field->is_null()) refuse(fmt::format("the field \"{}\" is null", name));
  return *field;
}

int64_t JsonFields::integer(const char* name, int64_t min, int64_t max) const {
  const json& field = at(name);
  if (!field.is_number_integer()) {
    refuse(fmt::format("\"{}\" must be an integer, found {}", name,
                       field.is_number() ? field.dump() : std::string(field.type_name())));
  }
  constexpr auto kLargest = static_cast<uint64_t>(std::numeric_limits<int64_t>::max());
  const bool fits = !field.is_number_unsigned() || field.get<uint64_t>() <= kLargest;
  const int64_t value = fits ? field.get<int64_t>() : 0;
  if (!fits || value < min || value > max) {
    refuse(fmt::format("\"{}\" is {}, outside {} to {}", name, field.dump(), min, max));
  }
  return value;
}

int64_t JsonFields::integer_or(const char* name, int64_t min, int64_t max, int64_t fallback) const {
  return has(name) ? integer(name, min, max) : fallback;
}

double JsonFields::number(const char* name, double min, double max) const {
  const json& field = at(name);
  if (!field.is_number()) {
    refuse(fmt::format("\"{}\" must be a number, found {}", name, field.type_name()));
  }
  const double value = field.get<double>();
  if (!(value >= min && value <= max)) {
    refuse(fmt::format("\"{}\" is {}, outside {} to {}", name, value, min, max));
  }
  return value;
}

double JsonFields::number_or(const char* name, double min, double max, double fallback) const {
  return has(name) ? number(name, min, max) : fallback;
}

bool JsonFields::boolean_or(const char* name, bool fallback) const {
  if (!has(name)) return fallback;
  const json& field = at(name);
  if (!field.is_boolean()) {
    refuse(fmt::format("\"{}\" must be true or false, found {}", name, field.type_name()));
  }
  return field.get<bool>();
}

std::string JsonFields::string(const char* name) const {
  const json& field = at(name);
  if (!field.is_string()) {
    refuse(fmt::format("\"{}\" must be a string, found {}", name, field.type_name()));
  }
  return field.get<std::string>();
}

std::string JsonFields::string_or(const char* name, const std::string& fallback) const {
  return has(name) ? string(name) : fallback;
}

}  // namespace chunkllm
