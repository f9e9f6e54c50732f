#include "text/chat/jinja/template.h"

#include "base/error.h"
#include "text/chat/jinja/interpreter.h"
#include "text/chat/jinja/parse/ast.h"
#include "text/tokenizer/tokenizer.h"
#include "text/utf8.h"

namespace chunkllm::jinja {
namespace {

// JSON as values, each string with the mark of its place.
class Importer {
 public:
  Importer(const OriginOf& origin_of, Budget& budget) : origin_of_(origin_of), budget_(budget) {}

  Value value(const nlohmann::ordered_json& json, const std::string& place) const {
    switch (json.type()) {
      case nlohmann::json::value_t::null:
        return Value(None{});
      case nlohmann::json::value_t::boolean:
        return Value(json.get<bool>());
      case nlohmann::json::value_t::number_integer:
        return Value(json.get<int64_t>());
      case nlohmann::json::value_t::number_unsigned:
        return Value(static_cast<int64_t>(json.get<uint64_t>() & INT64_MAX));
      case nlohmann::json::value_t::number_float:
        return Value(json.get<double>());
      case nlohmann::json::value_t::string:
        return text(json.get_ref<const std::string&>(), place);
      case nlohmann::json::value_t::array: {
        std::vector<Value> items;
        for (size_t i = 0; i < json.size(); ++i) {
          items.push_back(value(json[i], place + "/" + std::to_string(i)));
        }
        return List::make(std::move(items), budget_);
      }
      case nlohmann::json::value_t::object:
        return object(json, place);
      case nlohmann::json::value_t::binary:
      case nlohmann::json::value_t::discarded:
        break;
    }
    return {};
  }

  std::shared_ptr<const Dict> object(const nlohmann::ordered_json& json,
                                     const std::string& place) const {
    const auto dict = std::make_shared<Dict>(budget_);
    for (const auto& [key, item] : json.items()) {
      const std::string item_place = place + "/" + key;
      dict->set(text(key, item_place), value(item, item_place));
    }
    return dict;
  }

 private:
  TextPtr text(const std::string& bytes, const std::string& place) const {
    TextBuilder builder(budget_);
    builder.add(bytes, origin_of_ ? origin_of_(place) : 0);
    return builder.finish();
  }

  const OriginOf& origin_of_;
  Budget& budget_;
};

size_t size_of(const nlohmann::ordered_json& json) {
  if (json.is_string()) return json.get_ref<const std::string&>().size();
  size_t n = 8;
  for (const auto& item : json) {
    if (&item != &json) n += size_of(item);  // a scalar goes through itself
  }
  return n;
}

}  // namespace

struct Template::Body {
  Stmts stmts;
};

Template::Template(std::string_view source, std::string where) : where_(std::move(where)) {
  constexpr size_t kMaxBytes = size_t{1} << 20;
  if (source.size() > kMaxBytes) {
    fail(ErrorCode::kData, "{}: the chat template is longer than {} bytes", where_, kMaxBytes);
  }
  if (const auto offset = find_invalid_utf8(source)) {
    fail(ErrorCode::kData, "{}: the chat template is not valid UTF-8 at byte {}; convert it",
         where_, *offset);
  }
  try {
    body_ = std::make_shared<const Body>(Body{parse_template(source)});
  } catch (const Error& error) {
    fail(error.code(), "{}: the chat template cannot be read: {}", where_, error.what());
  }
}

MarkedText Template::render(const nlohmann::ordered_json& variables, const std::tm& now,
                            const OriginOf& origin_of) const {
  Budget budget(size_of(variables));
  int line = 0;
  try {
    const std::shared_ptr<const Dict> values = Importer(origin_of, budget).object(variables, "");
    Interpreter interpreter(budget, now);
    try {
      return interpreter.run(body_->stmts, *values);
    } catch (const Error&) {
      line = interpreter.line();
      throw;
    }
  } catch (const Error& error) {
    fail(error.code(), "{}, line {} of the chat template: {}", where_, line, error.what());
  }
}

}  // namespace chunkllm::jinja
