// Filters that take lists apart and put them together, and those that choose among their items.
#include <algorithm>
#include <optional>
#include <unordered_map>

#include "base/error.h"
#include "text/chat/jinja/builtins/arguments.h"
#include "text/chat/jinja/builtins/case.h"
#include "text/chat/jinja/builtins/filters.h"
#include "text/chat/jinja/interpreter.h"
#include "text/chat/jinja/print.h"

namespace chunkllm::jinja {
namespace {

// The attribute that "a.b.0" names of an item.
Value attribute_path(Interpreter& in, Value item, const Value& path) {
  if (path.is_integral()) return in.item_of(item, path);
  const TextPtr path_text = in.text_of(path);
  const std::string_view names = path_text->view();
  for (size_t begin = 0; begin <= names.size();) {
    const size_t end = std::min(names.find('.', begin), names.size());
    const std::string_view name = names.substr(begin, end - begin);
    const bool is_index = !name.empty() && name.size() < 10 &&
                          name.find_first_not_of("0123456789") == std::string_view::npos;
    item =
        in.item_of(item, is_index ? Value(int64_t{std::stoll(std::string(name))}) : in.text(name));
    begin = end + 1;
  }
  return item;
}

// What an item is sorted or compared by: an attribute if there is one, in small letters unless
// case counts.
class KeyOf {
 public:
  KeyOf(Interpreter& in, Value attribute, bool case_sensitive)
      : in_(in), attribute_(std::move(attribute)), case_sensitive_(case_sensitive) {}

  Value operator()(const Value& item) const {
    const bool has_attribute = !attribute_.is_undefined() && !attribute_.is_none();
    return folded(has_attribute ? attribute_path(in_, item, attribute_) : item);
  }
  Value folded(const Value& value) const {
    if (case_sensitive_ || !value.is_text()) return value;
    return change_case(*value.text(), CaseKind::kLower, in_.budget());
  }

 private:
  Interpreter& in_;
  Value attribute_;
  bool case_sensitive_;
};

struct Keyed {
  Value key;
  Value item;
};

std::vector<Keyed> keyed(const std::vector<Value>& items, const KeyOf& key_of) {
  std::vector<Keyed> result;
  result.reserve(items.size());
  for (const Value& item : items) result.push_back({key_of(item), item});
  return result;
}

void sort_keyed(Interpreter& in, std::vector<Keyed>& items, bool reverse) {
  // Python's reverse keeps the order of equals, too.
  std::ranges::stable_sort(items, [&](const Keyed& a, const Keyed& b) {
    return reverse ? less(b.key, a.key, in.budget()) : less(a.key, b.key, in.budget());
  });
}

Value filter_list(Interpreter& in, const Value& value, const CallArgs& args) {
  const BoundArgs bound("list", args, {});
  return in.list(in.items_of(value));
}

Value filter_first(Interpreter& in, const Value& value, const CallArgs& args) {
  const BoundArgs bound("first", args, {});
  if (value.is_list() && value.list().kind() == ListKind::kGenerator) {
    const std::vector<Value> taken = value.list().take(1);
    return taken.empty() ? Value::undefined("there is no first item") : taken[0];
  }
  if (value.is_text() && !value.text()->bytes().empty()) {
    return slice(value.text(), 0, character_at(value.text()->view(), 0).end, in.budget());
  }
  const std::vector<Value> items = in.items_of(value);
  return items.empty() ? Value::undefined("there is no first item") : items.front();
}

Value filter_last(Interpreter& in, const Value& value, const CallArgs& args) {
  const BoundArgs bound("last", args, {});
  if (value.is_list() && value.list().kind() == ListKind::kGenerator) {
    fail(ErrorCode::kData, "a generator has no last item; use |list before |last");
  }
  if (value.is_text() && !value.text()->bytes().empty()) {
    const size_t end = value.text()->bytes().size();
    return slice(value.text(), character_begin(value.text()->view(), end), end, in.budget());
  }
  const std::vector<Value> items = in.items_of(value);
  return items.empty() ? Value::undefined("there is no last item") : items.back();
}

Value filter_reverse(Interpreter& in, const Value& value, const CallArgs& args) {
  const BoundArgs bound("reverse", args, {});
  std::vector<Value> items = in.items_of(value);
  std::ranges::reverse(items);
  if (!value.is_text()) return in.list(std::move(items), ListKind::kGenerator);
  TextBuilder out(in.budget());
  for (const Value& item : items) out.add(*item.text());
  return out.finish();
}

Value filter_join(Interpreter& in, const Value& value, const CallArgs& args) {
  const BoundArgs bound("join", args, {"d", "attribute"});
  const TextPtr separator = bound.has(0) ? in.text_of(bound.at(0)) : in.text("").text();
  TextBuilder out(in.budget());
  bool is_first = true;
  for (const Value& item : in.items_of(value)) {
    if (!is_first) out.add(*separator);
    is_first = false;
    print(bound.has(1) ? attribute_path(in, item, bound.at(1)) : item, out);
  }
  return out.finish();
}

Value filter_items(Interpreter& in, const Value& value, const CallArgs& args) {
  const BoundArgs bound("items", args, {});
  if (value.is_undefined()) return in.list({}, ListKind::kGenerator);
  if (!value.is_dict()) fail(ErrorCode::kData, "items needs a dict");
  std::vector<Value> items;
  for (const auto& [key, item] : value.dict().items()) {
    items.push_back(in.list({key, item}, ListKind::kTuple));
  }
  return in.list(std::move(items), ListKind::kGenerator);
}

Value filter_dictsort(Interpreter& in, const Value& value, const CallArgs& args) {
  const BoundArgs bound("dictsort", args, {"case_sensitive", "by", "reverse"});
  if (value.is_undefined()) fail(ErrorCode::kData, "{}", value.undefined_text());
  if (!value.is_dict()) fail(ErrorCode::kData, "dictsort needs a dict");
  const std::string by = bound.has(1) ? bound.text(1)->bytes() : "key";
  if (by != "key" && by != "value") fail(ErrorCode::kData, "dictsort: by must be key or value");
  const KeyOf key_of(in, {}, bound.flag_or(0, false));
  std::vector<Keyed> items;
  for (const auto& [key, item] : value.dict().items()) {
    items.push_back(
        {key_of.folded(by == "key" ? key : item), in.list({key, item}, ListKind::kTuple)});
  }
  sort_keyed(in, items, bound.flag_or(2, false));
  std::vector<Value> sorted;
  for (Keyed& item : items) sorted.push_back(std::move(item.item));
  return in.list(std::move(sorted));
}

Value filter_sort(Interpreter& in, const Value& value, const CallArgs& args) {
  const BoundArgs bound("sort", args, {"reverse", "case_sensitive", "attribute"});
  std::vector<Value> items = in.items_of(value);
  // Several attributes, "a,b", sort by the first and then by the next.
  std::vector<Value> attributes;
  if (bound.at(2).is_text()) {
    const std::string names = bound.text(2)->bytes();
    for (size_t begin = 0; begin <= names.size();) {
      const size_t end = std::min(names.find(',', begin), names.size());
      attributes.push_back(in.text(names.substr(begin, end - begin)));
      begin = end + 1;
    }
  } else {
    attributes.push_back(bound.at(2));
  }
  for (size_t i = attributes.size(); i-- > 0;) {
    std::vector<Keyed> sorted = keyed(items, KeyOf(in, attributes[i], bound.flag_or(1, false)));
    sort_keyed(in, sorted, bound.flag_or(0, false));
    for (size_t k = 0; k < items.size(); ++k) items[k] = sorted[k].item;
  }
  return in.list(std::move(items));
}

Value filter_unique(Interpreter& in, const Value& value, const CallArgs& args) {
  const BoundArgs bound("unique", args, {"case_sensitive", "attribute"});
  const KeyOf key_of(in, bound.at(1), bound.flag_or(0, false));
  Dict seen(in.budget());
  std::vector<Value> items;
  for (const Value& item : in.items_of(value)) {
    const Value key = key_of(item);
    if (seen.find(key) != nullptr) continue;
    seen.set(key, Value(true));
    items.push_back(item);
  }
  return in.list(std::move(items), ListKind::kGenerator);
}

Value extreme(Interpreter& in, const Value& value, const CallArgs& args, bool is_max) {
  const BoundArgs bound("min", args, {"case_sensitive", "attribute"});
  const std::vector<Keyed> items =
      keyed(in.items_of(value), KeyOf(in, bound.at(1), bound.flag_or(0, false)));
  if (items.empty()) return Value::undefined("an empty list has no smallest and no largest item");
  const Keyed* best = &items[0];
  for (const Keyed& item : items) {
    const bool is_better =
        is_max ? less(best->key, item.key, in.budget()) : less(item.key, best->key, in.budget());
    if (is_better) best = &item;
  }
  return best->item;
}
Value filter_min(Interpreter& in, const Value& value, const CallArgs& args) {
  return extreme(in, value, args, false);
}
Value filter_max(Interpreter& in, const Value& value, const CallArgs& args) {
  return extreme(in, value, args, true);
}

Value filter_sum(Interpreter& in, const Value& value, const CallArgs& args) {
  const BoundArgs bound("sum", args, {"attribute", "start"});
  Value sum = bound.at(1).is_undefined() ? Value(int64_t{0}) : bound.at(1);
  if (sum.is_text()) fail(ErrorCode::kData, "sum adds no strings; use join");
  for (const Value& item : in.items_of(value)) {
    sum = in.binary("+", sum, bound.has(0) ? attribute_path(in, item, bound.at(0)) : item);
  }
  return sum;
}

Value filter_batch(Interpreter& in, const Value& value, const CallArgs& args) {
  const BoundArgs bound("batch", args, {"linecount", "fill_with"}, 1);
  const int64_t n = bound.integer_or(0, 0);
  std::vector<Value> batches;
  std::vector<Value> batch;
  for (Value& item : in.items_of(value)) {
    if (std::ssize(batch) == n) batches.push_back(in.list(std::exchange(batch, {})));
    batch.push_back(std::move(item));
  }
  if (!batch.empty()) {
    while (bound.has(1) && std::ssize(batch) < n) {
      in.budget().take(sizeof(Value));  // a batch may be far longer than the list
      batch.push_back(bound.at(1));
    }
    batches.push_back(in.list(std::move(batch)));
  }
  return in.list(std::move(batches), ListKind::kGenerator);
}

Value filter_slice(Interpreter& in, const Value& value, const CallArgs& args) {
  const BoundArgs bound("slice", args, {"slices", "fill_with"}, 1);
  const std::vector<Value> items = in.items_of(value);
  const int64_t n = bound.integer_or(0, 0);
  if (n <= 0) fail(ErrorCode::kData, "slice needs a number of slices above 0");
  const int64_t each = std::ssize(items) / n;
  const int64_t n_longer = std::ssize(items) % n;
  std::vector<Value> slices;
  int64_t begin = 0;
  for (int64_t i = 0; i < n; ++i) {
    in.budget().step();
    const int64_t end = begin + each + static_cast<int64_t>(i < n_longer);
    std::vector<Value> part(items.begin() + begin, items.begin() + end);
    if (bound.has(1) && i >= n_longer) part.push_back(bound.at(1));
    slices.push_back(in.list(std::move(part)));
    begin = end;
  }
  return in.list(std::move(slices), ListKind::kGenerator);
}

// Tuples of what the items have in common, and the items.
Value filter_groupby(Interpreter& in, const Value& value, const CallArgs& args) {
  const BoundArgs bound("groupby", args, {"attribute", "default", "case_sensitive"}, 1);
  const KeyOf key_of(in, bound.at(0), bound.flag_or(2, false));
  std::vector<Keyed> items;
  for (const Value& item : in.items_of(value)) {
    Value key = key_of(item);
    if (key.is_undefined() && bound.has(1)) key = key_of.folded(bound.at(1));
    items.push_back({std::move(key), item});
  }
  sort_keyed(in, items, false);
  std::vector<Value> groups;
  for (size_t begin = 0; begin < items.size();) {
    std::vector<Value> members;
    size_t end = begin;
    while (end < items.size() && equals(items[end].key, items[begin].key, in.budget())) {
      members.push_back(items[end++].item);
    }
    const Value grouper = attribute_path(in, items[begin].item, bound.at(0));
    groups.push_back(
        in.list({grouper.is_undefined() ? bound.at(1) : grouper, in.list(std::move(members))},
                ListKind::kTuple));
    begin = end;
  }
  return in.list(std::move(groups));
}

Value filter_attr(Interpreter& in, const Value& value, const CallArgs& args) {
  const BoundArgs bound("attr", args, {"name"}, 1);
  if (value.is_dict() && find_method(value, bound.text(0)->view()) == nullptr) {
    return Value::undefined("attr finds attributes only, not keys of a dict");
  }
  return in.attribute_of(value, bound.text(0)->view());
}

// As for a loop, but None and what else is false has no items.
std::vector<Value> items_or_none(Interpreter& in, const Value& value) {
  return value.is_true() ? in.items_of(value) : std::vector<Value>();
}

// The generator that `make` fills from a value and arguments, when its items are asked for.
using MakeItems = std::vector<Value> (*)(Interpreter& in, const Value& value, const CallArgs& args);
Value lazy(Interpreter& in, const Value& value, const CallArgs& args, MakeItems make) {
  std::vector<Value> sources = args.positional;
  for (const auto& named : args.named) sources.push_back(named.second);
  sources.push_back(value);
  return List::make_lazy([&in, value, args, make] { return make(in, value, args); }, sources,
                         in.budget());
}

std::vector<Value> mapped(Interpreter& in, const Value& value, const CallArgs& args) {
  const DepthGuard depth(in.budget());
  std::vector<Value> items = items_or_none(in, value);
  if (items.empty()) return items;
  const bool has_attribute =
      std::ranges::any_of(args.named, [](const auto& named) { return named.first == "attribute"; });
  if (args.positional.empty() && has_attribute) {
    const BoundArgs bound("map", args, {"attribute", "default"});
    for (Value& item : items) {
      item = attribute_path(in, item, bound.at(0));
      if (item.is_undefined() && !bound.at(1).is_undefined()) item = bound.at(1);
    }
    return items;
  }
  if (args.positional.empty() || !args.positional[0].is_text()) {
    fail(ErrorCode::kData, "map needs the name of a filter, or attribute=");
  }
  const CallArgs rest{{args.positional.begin() + 1, args.positional.end()}, args.named};
  for (Value& item : items) item = in.filter(args.positional[0].text()->view(), item, rest);
  return items;
}
Value filter_map(Interpreter& in, const Value& value, const CallArgs& args) {
  return lazy(in, value, args, mapped);
}

// select, reject, selectattr and rejectattr: items for which a test is true, or is not.
template <bool kWanted, bool kHasAttribute>
std::vector<Value> chosen(Interpreter& in, const Value& value, const CallArgs& args) {
  const DepthGuard depth(in.budget());
  std::vector<Value> items = items_or_none(in, value);
  if (items.empty()) return items;
  constexpr size_t kBefore = kHasAttribute ? 1 : 0;
  if (args.positional.size() < kBefore) {
    fail(ErrorCode::kData, "the name of an attribute is missing");
  }
  std::optional<TextPtr> test;
  CallArgs rest{{}, args.named};
  if (args.positional.size() > kBefore) {
    if (!args.positional[kBefore].is_text()) fail(ErrorCode::kData, "a test needs its name");
    test = args.positional[kBefore].text();
    rest.positional.assign(args.positional.begin() + kBefore + 1, args.positional.end());
  }
  std::erase_if(items, [&](const Value& item) {
    const Value subject = kHasAttribute ? attribute_path(in, item, args.positional[0]) : item;
    const bool is_true = test ? in.test((*test)->view(), subject, rest) : subject.is_true();
    return is_true != kWanted;
  });
  return items;
}
template <bool kWanted, bool kHasAttribute>
Value filter_choose(Interpreter& in, const Value& value, const CallArgs& args) {
  return lazy(in, value, args, chosen<kWanted, kHasAttribute>);
}

}  // namespace

Filter find_sequence_filter(std::string_view name) {
  static const std::unordered_map<std::string_view, Filter> filters = {
      {"list", filter_list},
      {"first", filter_first},
      {"last", filter_last},
      {"reverse", filter_reverse},
      {"join", filter_join},
      {"items", filter_items},
      {"dictsort", filter_dictsort},
      {"sort", filter_sort},
      {"unique", filter_unique},
      {"min", filter_min},
      {"max", filter_max},
      {"sum", filter_sum},
      {"batch", filter_batch},
      {"slice", filter_slice},
      {"groupby", filter_groupby},
      {"attr", filter_attr},
      {"map", filter_map},
      {"select", filter_choose<true, false>},
      {"reject", filter_choose<false, false>},
      {"selectattr", filter_choose<true, true>},
      {"rejectattr", filter_choose<false, true>},
  };
  const auto it = filters.find(name);
  return it == filters.end() ? nullptr : it->second;
}

}  // namespace chunkllm::jinja
