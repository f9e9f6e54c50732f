// JSON and tables.

#include <fmt/core.h>

#include <algorithm>
#include <array>

#include "base/error.h"
#include "data/block_items.h"
#include "data/task_blocks.h"

namespace chunkllm {
namespace {

using Text = std::string_view;

std::string make_uuid(Rng& rng) {
  const auto hex4 = [&] { return make_value(rng, "hex4"); };
  std::string uuid = make_value(rng, "hex8");
  for (int i = 0; i < 3; ++i) uuid += "-" + hex4();
  return uuid + "-" + hex4() + hex4() + hex4();
}

// {k} is a key, {v} its value.
constexpr Text kPairQuestions[] = {
    "What is the value of the key \"{k}\"?",         "Which value does \"{k}\" have?",
    "Give the value that belongs to \"{k}\".",       "Look up \"{k}\" and answer with its value.",
    "What does the JSON object hold under \"{k}\"?", "\"{k}\":"};
constexpr Text kPairHeldOut[] = {
    "Please read out what is stored for the key \"{k}\" in the JSON data above. Answer with it "
    "alone."};
constexpr Text kPairAnswers[] = {"{v}", "\"{v}\"", "{v}.", "The value is \"{v}\".",
                                 "The value of \"{k}\" is \"{v}\"."};

TaskQuestion ask_pair(Rng& rng, Forms forms, Text key, const std::string& value) {
  return {TaskKind::kJson,
          fill_form(pick_form(rng, forms, kPairQuestions, kPairHeldOut), {}, key, {}),
          fill_form(pick_of(rng, kPairAnswers), {}, key, value),
          {value}};
}

// {a} is a field or column, {k} whom a record or row is about.
constexpr Text kCellQuestions[] = {
    "What is the {a} of {k}?", "Which {a} does {k} have?",
    "Look up the {a} of {k}.", "In the record of {k}, what is the {a}?",
    "{k}: what is the {a}?",   "What do the data say about {k}'s {a}?"};
constexpr Text kCellHeldOut[] = {"Please find the entry of {k} above and read out the {a}."};
constexpr Text kCellAnswers[] = {"{v}", "{v}.", "The {a} of {k} is {v}.", "It is {v}."};

struct Field {
  Text name;
  Text rule;
};
constexpr Field kFields[] = {{"city", "city"},       {"code", "code"},      {"phone", "number7"},
                             {"room", "number3"},    {"color", "color"},    {"teacher", "first_f"},
                             {"account", "number5"}, {"item", "words"},     {"departure", "time"},
                             {"key", "hex8"},        {"manager", "first_m"}};

// A few fields, each once.
std::vector<Field> draw_fields(Rng& rng) {
  std::vector<Field> fields(std::begin(kFields), std::end(kFields));
  const int64_t n = 2 + rng.below(4);
  for (int64_t i = 0; i < n; ++i) {
    std::swap(fields[static_cast<size_t>(i)],
              fields[static_cast<size_t>(i + rng.below(std::ssize(fields) - i))]);
  }
  fields.resize(static_cast<size_t>(n));
  return fields;
}

// One record: whom it is about, and its values.
struct Record {
  std::string name;
  std::vector<std::string> values;
  TaskQuestion question;
};

Record draw_record(Rng& rng, TaskKind kind, Forms forms, const std::vector<Field>& fields,
                   TakenNames& taken) {
  Record record;
  record.name = make_new_value(rng, "person", taken);
  for (const Field& field : fields) record.values.push_back(make_value(rng, field.rule));
  const auto asked = static_cast<size_t>(rng.below(std::ssize(fields)));
  const Text field = fields[asked].name;
  const std::string& value = record.values[asked];
  record.question = {
      kind,
      fill_form(pick_form(rng, forms, kCellQuestions, kCellHeldOut), field, record.name, {}),
      fill_form(pick_of(rng, kCellAnswers), field, record.name, value),
      {value}};
  return record;
}

// "[ {"name": ..., ...}, ... ]", a record a line or a field a line.
TaskDocument make_records(Rng& rng, Forms forms, int64_t n_bytes, int64_t n_questions) {
  const std::vector<Field> fields = draw_fields(rng);
  const bool is_tall = rng.below(2) == 0;
  const Text open = is_tall ? "  {\n    " : "  {";
  const Text between = is_tall ? ",\n    " : ", ";
  const Text close = is_tall ? "\n  }" : "}";
  std::vector<BlockItem> items;
  TakenNames taken;
  for (int64_t size = 0; size < n_bytes || items.empty();) {
    const Record record = draw_record(rng, TaskKind::kJson, forms, fields, taken);
    std::string text = fmt::format("{}\"name\": \"{}\"", open, record.name);
    for (size_t i = 0; i < fields.size(); ++i) {
      text += fmt::format("{}\"{}\": \"{}\"", between, fields[i].name, record.values[i]);
    }
    text += close;
    size += std::ssize(text) + 2;
    if (!items.empty()) items.back().text += ",\n";
    items.push_back({std::move(text), record.question});
  }
  return join_items(rng, "[\n", items, "\n]\n", n_questions);
}

}  // namespace

TaskDocument make_json(Rng& rng, Forms forms, int64_t n_pairs, int64_t n_questions) {
  if (n_questions < 0 || n_questions > n_pairs) {
    fail(ErrorCode::kInvalidArgument, "cannot ask for {} of {} pairs", n_questions, n_pairs);
  }
  const bool has_uuids = forms == Forms::kHeldOut || rng.below(2) == 0;
  constexpr Text kValueRules[] = {"number7", "hex8", "words", "city"};
  const Text value_rule = pick_of(rng, kValueRules);
  std::vector<BlockItem> items;
  TakenNames taken;
  for (int64_t i = 0; i < n_pairs; ++i) {
    const std::string key = has_uuids ? make_uuid(rng) : make_new_value(rng, "words", taken);
    const std::string value = has_uuids ? make_uuid(rng) : make_value(rng, value_rule);
    items.push_back({fmt::format("  \"{}\": \"{}\"{}\n", key, value, i + 1 < n_pairs ? "," : ""),
                     ask_pair(rng, forms, key, value)});
  }
  return join_items(rng, "{\n", items, "}\n", n_questions);
}

TaskDocument make_json_block(Rng& rng, Forms forms, int64_t n_bytes, int64_t n_questions) {
  if (rng.below(2) == 0) return make_records(rng, forms, n_bytes, n_questions);
  // Made once to see how long a pair is.
  const Rng state = rng;
  int64_t n_pairs = std::max<int64_t>(n_bytes / 80 + 1, n_questions);
  TaskDocument document = make_json(rng, forms, n_pairs, n_questions);
  if (std::ssize(document.text) >= n_bytes) return document;
  rng = state;
  n_pairs = n_pairs * n_bytes * 21 / (std::ssize(document.text) * 20) + 2;
  return make_json(rng, forms, n_pairs, n_questions);
}

TaskDocument make_table_block(Rng& rng, Forms forms, int64_t n_bytes, int64_t n_questions) {
  const std::vector<Field> fields = draw_fields(rng);
  const bool is_markdown = rng.below(3) > 0;
  constexpr Text kSeparators[] = {",", ";", "\t", ", "};
  const Text separator = pick_of(rng, kSeparators);
  const auto row = [&](Text first, const auto& cells) {
    std::string text = is_markdown ? fmt::format("| {} |", first) : std::string(first);
    for (const auto& cell : cells) {
      text += is_markdown ? fmt::format(" {} |", cell) : fmt::format("{}{}", separator, cell);
    }
    return text + "\n";
  };
  std::vector<Text> names;
  for (const Field& field : fields) names.push_back(field.name);
  std::string head = row("name", names);
  if (is_markdown) head += row("---", std::vector<Text>(fields.size(), "---"));
  std::vector<BlockItem> items;
  TakenNames taken;
  for (int64_t size = std::ssize(head); size < n_bytes || items.empty();) {
    const Record record = draw_record(rng, TaskKind::kTable, forms, fields, taken);
    items.push_back({row(record.name, record.values), record.question});
    size += std::ssize(items.back().text);
  }
  return join_items(rng, head, items, "", n_questions);
}

}  // namespace chunkllm
